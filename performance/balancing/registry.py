"""Who is there: nodes announce themselves in the bus, and a silent one is gone after 3 s.

Times out by Redis's own relative clock, so no machine's clock matters. What is read here is only
a claim: each node is checked, and a lie is refused and logged, never rendered.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import redis

from performance.balancing.conf import BalancingConf
from performance.balancing.errors import NodeRefused
from performance.balancing.nodes import Node, check_node

logger = logging.getLogger(__name__)

INDEX = "balancing:nodes"
PREFIX = "balancing:node:"
MOST_PROCESSES = 512
LONGEST_BYTES = 2_048
_FIELDS = frozenset(Node.__dataclass_fields__) - {"weight", "aside"}  # the balancer's to give
_refused: dict[str, str] = {}
"""Member -> what was wrong with it, so that one lie is one log line and not one a second."""


class Registry:
    """The announcements of all processes of all nodes. Raises redis.RedisError when it is away."""

    def __init__(self, bus: redis.Redis, options: BalancingConf) -> None:
        self._bus = bus
        self._options = options

    def announce(self, node: Node, pid: int) -> None:
        """Say that this process of a node is alive; holds for `gone_after_s`. One round trip."""
        check_node(node, self._options.node_networks)
        member = f"{node.id}:{pid}"
        pipe = self._bus.pipeline(transaction=False)
        pipe.set(
            PREFIX + member, json.dumps(asdict(node)), px=int(self._options.gone_after_s * 1e3)
        )
        pipe.sadd(INDEX, member)
        pipe.execute()

    def withdraw(self, node_id: str, pid: int) -> None:
        """Say that this process is going; nobody has to wait for its silence."""
        member = f"{node_id}:{pid}"
        pipe = self._bus.pipeline(transaction=False)
        pipe.delete(PREFIX + member)
        pipe.srem(INDEX, member)
        pipe.execute()

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive and believed, by kind and id. Two round trips."""
        members = sorted(str(raw, "utf-8", "replace") for raw in self._members())[:MOST_PROCESSES]
        if not members:
            return []
        values: Any = self._bus.mget([PREFIX + member for member in members])
        silent = [member for member, value in zip(members, values, strict=True) if value is None]
        if silent:
            self._bus.srem(INDEX, *silent)  # one who was only late adds itself within a second
        found = [
            node
            for member, value in zip(members, values, strict=True)
            if value is not None and (node := self._believe(member, value)) is not None
        ]
        return sorted(_one_an_address(_merge(found)), key=lambda node: (node.kind, node.id))

    def _members(self) -> set[bytes]:
        members: Any = self._bus.smembers(INDEX)
        return set(members)

    def _believe(self, member: str, value: bytes) -> Node | None:
        try:
            node = check_node(_parse(member, value), self._options.node_networks)
        except NodeRefused as error:
            if _refused.get(member) != str(error):
                _refused[member] = str(error)
                logger.warning("%s", error)
            return None
        _refused.pop(member, None)
        return node


def _parse(member: str, value: bytes) -> Node:
    name = member.rpartition(":")[0]
    if len(value) > LONGEST_BYTES:
        raise NodeRefused(name, "announcement", f"{len(value)} bytes", f"at most {LONGEST_BYTES}")
    try:
        said = json.loads(value)
    except (ValueError, RecursionError):
        raise NodeRefused(name, "announcement", repr(value[:40]), "JSON") from None
    if not isinstance(said, dict) or not {"id", "kind", "address", "slots"} <= said.keys():
        raise NodeRefused(name, "announcement", str(said)[:64], "id, kind, address and slots")
    if said["id"] != name:
        raise NodeRefused(name, "id", str(said["id"]), "the one that it is filed under")
    known = {field: said[field] for field in said.keys() & _FIELDS}
    known["draining"] = known.get("draining") is True
    known["spare"] = known.get("spare") is True
    if isinstance(known.get("lost"), list):  # JSON knows no tuples
        known["lost"] = tuple(known["lost"])
    return Node(**known)


def _merge(processes: Iterable[Node]) -> list[Node]:
    """Make one node of the processes that share its id: the loads add up, the rest is one's."""
    merged: dict[str, Node] = {}
    for node in processes:
        first = merged.get(node.id)
        if first is None:
            merged[node.id] = node
            continue
        merged[node.id] = replace(
            first,
            memory_bytes=first.memory_bytes + node.memory_bytes,
            cpu_ratio=_sum(first.cpu_ratio, node.cpu_ratio),
            in_flight=_sum(first.in_flight, node.in_flight),
            queue_p95_ms=_worst(first.queue_p95_ms, node.queue_p95_ms),
            lost=tuple(sorted({*first.lost, *node.lost})),
            draining=first.draining or node.draining,
        )
    return list(merged.values())


def _sum(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one + other


def _worst(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _one_an_address(nodes: Iterable[Node]) -> list[Node]:
    """Keep one node an address, the one that began last: a port is handed on by a dead process."""
    by_address: dict[str, Node] = {}
    for node in nodes:
        other = by_address.get(node.address)
        if other is None or (node.started_at, node.id) > (other.started_at, other.id):
            by_address[node.address] = node
    return list(by_address.values())
