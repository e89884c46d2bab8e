"""What a node is, and which announcements are believed. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from performance.balancing.errors import NodeRefused

KINDS = ("web", "live")
MOST_SLOTS = {"web": 1_024, "live": 20_000}
"""Above these no process of ours could keep its promise."""
WEIGHT = 100
"""Everybody's own, where nobody set another."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LOST = re.compile(r"[a-z]{1,20}")
MOST_LOST = 8
_BUILD = re.compile(r"[A-Za-z0-9._-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One process that answers: HTTP (`web`) or sockets (`live`)."""

    id: str
    kind: str
    address: str
    """`host:port`, the host an IP address (`[::1]:8001` for IPv6)."""
    slots: int
    build: str = ""
    draining: bool = False
    weight: int = WEIGHT
    """Its share beside the others, 1 to 256; what a node announces of it is not believed."""
    memory_bytes: int = 0
    cpu_ratio: float | None = None
    """Share of one core in use since the last heartbeat; None when it is not known."""
    in_flight: int | None = None
    queue_p95_ms: float | None = None
    """How long requests waited before this node took them up; None where it is not measured."""
    spare: bool = False
    """Whether it was started ahead, to wait. Once the proxy has it, it is a node like the others,
    whatever it goes on saying."""
    lost: tuple[str, ...] = ()
    """What it cannot reach, as it says itself: `database`."""
    aside: bool = False
    """Whether it gets nothing new because others are better off; the balancer's word, never its."""
    started_at: float = 0.0
    """Seconds since 1970, by the node's clock; only shown, never compared."""

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def share(self, *, panic: bool) -> int:
        """Return its weight in the proxy now; zero is HAProxy's own way to say "nothing new".

        When every check fails (`panic`) nobody is better off, and who is set aside is tried too.
        """
        return 0 if self.draining or (self.aside and not panic) else self.weight

    def drained(self) -> Node:
        return replace(self, draining=True)


def check_node(node: Node, networks: Sequence[str]) -> Node:
    """Return the node when all it says can be true, else raise NodeRefused naming what cannot.

    A node's words end up in haproxy.cfg, so nothing is let through that could start a new line.
    """

    def refuse(field: str, allowed: str) -> NodeRefused:
        return NodeRefused(str(node.id), field, str(getattr(node, field)), allowed)

    if not isinstance(node.id, str) or not _ID.fullmatch(node.id):
        raise refuse("id", "up to 63 letters, digits, '.', '_' or '-'")
    if node.kind not in KINDS:
        raise refuse("kind", "web or live")
    if not isinstance(node.slots, int) or not 1 <= node.slots <= MOST_SLOTS[node.kind]:
        raise refuse("slots", f"a number from 1 to {MOST_SLOTS[node.kind]}")
    if not isinstance(node.build, str) or not _BUILD.fullmatch(node.build):
        raise refuse("build", "up to 40 letters, digits, '.', '_' or '-'")
    if not isinstance(node.lost, tuple) or not all(map(_is_name, node.lost[: MOST_LOST + 1])):
        raise refuse("lost", "names of dependencies, such as database")
    if len(node.lost) > MOST_LOST:
        raise refuse("lost", f"at most {MOST_LOST} names")
    for field in ("memory_bytes", "cpu_ratio", "in_flight", "queue_p95_ms", "started_at"):
        value = getattr(node, field)
        if value is not None and not _is_finite(value):
            raise refuse(field, "a number from 0 up")
    if not _is_allowed_address(node.address, networks):
        raise refuse("address", f"an IP address and port in {', '.join(networks)}")
    return node


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _LOST.fullmatch(value) is not None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1e15  # NaN compares false


def _is_allowed_address(address: object, networks: Sequence[str]) -> bool:
    if not isinstance(address, str) or len(address) > 64:
        return False
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        return False
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return False
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    if "%" in host:  # a scope id is free text
        return False
    return any(ip in ipaddress.ip_network(network) for network in networks)


def free_ids(kind: str, taken: Iterable[str], count: int) -> list[str]:
    """Return the lowest free names of this kind.

    >>> free_ids("web", ["web-1", "web-3"], 2)
    ['web-2', 'web-4']
    """
    used = set(taken)
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        if f"{kind}-{number}" not in used:
            names.append(f"{kind}-{number}")
    return names
