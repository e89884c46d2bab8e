"""The door of this room: which node answers, and how many there are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from django.utils import timezone

from performance.balancing import decisions, load_testing, planning
from performance.balancing.announce import Heartbeat
from performance.balancing.arrivals import has_anybody_come, wsgi_arrivals
from performance.balancing.balancer import STATUS_KEY
from performance.balancing.conf import POLICIES, conf
from performance.balancing.counting import Autoscaler
from performance.balancing.dry_run import DryRun
from performance.balancing.errors import BalancingError, LastNode, UnknownNode
from performance.balancing.floors import fixture_options, register_floor
from performance.balancing.health import Losses, asgi_healthz, wsgi_healthz
from performance.balancing.installing import haproxy_binary, proxy_command, render_proxy, site_in
from performance.balancing.leading import run_balancer
from performance.balancing.models import (
    Decision,
    DrainOrder,
    LoadStep,
    NodeWeight,
    ScaleTarget,
    Steering,
)
from performance.balancing.nodes import KINDS, Node
from performance.balancing.registry import Registry
from performance.balancing.site import Site
from performance.balancing.steering import HEAVIEST, steered
from performance.balancing.steering import weights as set_weights
from performance.core import stores

__all__ = [
    "POLICIES",
    "Autoscaler",
    "LoadBalancer",
    "Node",
    "Site",
    "announce_this_process",
    "asgi_healthz",
    "autoscaler",
    "balancer",
    "drain",
    "dry_run",
    "fixture_options",
    "haproxy_binary",
    "latest_decisions",
    "load_test",
    "nodes",
    "planned_node",
    "proxy_command",
    "register_floor",
    "render_proxy",
    "run_balancer",
    "scale",
    "targets",
    "wsgi_arrivals",
    "wsgi_healthz",
]  # fmt: skip

# --- this process as a node ---------------------------------------------------------------------
_heartbeat: Heartbeat | None = None


def announce_this_process() -> bool:
    """Announce this process as a node each second, when PROTIPP_NODE_ADDRESS is set.

    True when it beats now. Calling it twice, or in a forked worker, is right. The kind is
    PROTIPP_PROCESS, `web` or `live`.
    """
    global _heartbeat
    address = os.environ.get("PROTIPP_NODE_ADDRESS", "")
    kind = os.environ.get("PROTIPP_PROCESS", "")
    if not address or kind not in KINDS:
        return False
    if _heartbeat is None:
        options = conf()
        node = Node(
            id=os.environ.get("PROTIPP_NODE_ID") or f"{kind}-{os.getpid()}",
            kind=kind,
            address=address,
            slots=options.slots(kind),
            build=os.environ.get("PROTIPP_BUILD", ""),
            spare=os.environ.get("PROTIPP_SPARE") == "1",
            started_at=time.time(),
        )
        _heartbeat = Heartbeat(node, _registry, options.heartbeat_s, lambda: _losses(node))
    _heartbeat.start()
    return True


def _losses(node: Node) -> Callable[[], tuple[str, ...]]:
    """Return what tells what is lost; a spare asks no database before its first request."""
    look = Losses().look
    if not node.spare:
        return look
    return lambda: look() if has_anybody_come() else ()


def planned_node(node_id: str, kind: str, address: str) -> Node:
    """Return a node as it will announce itself, for the proxy's first file."""
    return Node(id=node_id, kind=kind, address=address, slots=conf().slots(kind))


def _registry() -> Registry:
    return Registry(stores.bus(), conf())


# --- what staff and commands do -----------------------------------------------------------------
class LoadBalancer:
    """The nodes as they are, and the wish to empty one."""

    def status(self) -> dict[str, Any] | None:
        """Return what the leading balancer told last, or None when none leads.

        One GET. It holds `at_s`, `nodes`, `queues`, `scaling`, `troubles` and `policy`.
        Raises redis.RedisError.
        """
        raw: Any = stores.bus().get(STATUS_KEY)
        return json.loads(raw) if raw else None

    def nodes(self) -> list[dict[str, Any]]:
        """Return every node: the balancer's view of it, else what it announces itself."""
        status = self.status()
        if status is not None:
            return list(status["nodes"])
        return [
            msgspec.to_builtins(node) | {"state": "unknown", "heard": True}
            for node in _registry().nodes()
        ]

    def drain(self, node_id: str, *, by: str, stop: bool = True) -> str:
        """Order that a node takes nothing new and, with `stop`, ends once it is empty.

        Returns what will happen. Twice is once. Raises UnknownNode, and LastNode when nobody of
        its kind would be left to answer.
        """
        there = {node["id"]: node for node in self.nodes()}
        node = there.get(node_id)
        if node is None:
            raise UnknownNode(node_id, sorted(there))
        open_orders = set(DrainOrder.objects.filter(done_at=None).values_list("node_id", flat=True))
        if node_id in open_orders:
            return f"{node_id} is being drained already."
        left = [
            other
            for other in there.values()
            if other["kind"] == node["kind"]
            and other["id"] not in open_orders | {node_id}
            and other["state"] in {"up", "unknown"}
        ]
        if not left and node["state"] != "spare":
            raise LastNode(node_id, node["kind"])
        _, created = DrainOrder.objects.get_or_create(
            node_id=node_id, done_at=None, defaults={"kind": node["kind"], "stop": stop, "by": by}
        )
        if created:
            decisions.record("drain", kind=node["kind"], node_id=node_id, by=by, reason="asked for")
        end = "is then stopped" if stop else "stays empty until it is undrained"
        return f"{node_id} takes nothing new, ends what it has and {end}."

    def undrain(self, node_id: str, *, by: str) -> str:
        """Take an open drain order back; UnknownNode when there is none for that node."""
        taken_back = DrainOrder.objects.filter(node_id=node_id, done_at=None).update(
            done_at=timezone.now(), outcome=f"taken back by {by}"[:200]
        )
        if not taken_back:
            ordered = DrainOrder.objects.filter(done_at=None).values_list("node_id", flat=True)
            raise UnknownNode(node_id, sorted(ordered))
        decisions.record("drain", node_id=node_id, by=by, reason="the drain was taken back")
        return f"{node_id} takes requests again."

    def policy(self) -> str:
        """Return how the proxy chooses now: as set by hand, else by the settings. One query."""
        return steered(conf()).policy

    def choose(self, policy: str, *, by: str) -> str:
        """Let the proxy choose by this policy from the next tick on; empty gives it back.

        The proxy is reloaded for it, which loses nothing. BalancingError names the policies.
        """
        if policy and policy not in POLICIES:
            raise BalancingError(
                f"There is no policy {policy!r}; the policies are: {', '.join(POLICIES)}."
            )
        before = self.policy()
        if policy:
            Steering.objects.update_or_create(only=True, defaults={"policy": policy, "by": by})
        else:
            Steering.objects.all().delete()
        after = policy or conf().policy
        decisions.record("policy", by=by, reason=f"{after} instead of {before}")
        return f"The proxy chooses by {after} from now on."

    def weigh(self, node_id: str, weight: int | None, *, by: str) -> str:
        """Give a node this share beside the others, 1 to 256; None gives it back its own."""
        known = sorted(node["id"] for node in self.nodes())
        if node_id not in known:
            raise UnknownNode(node_id, known)
        if weight is None:
            NodeWeight.objects.filter(node_id=node_id).delete()
            decisions.record("weight", node_id=node_id, by=by, reason="given back")
            return f"{node_id} has its own weight again."
        if not 1 <= weight <= HEAVIEST:
            raise BalancingError(
                f"A weight is {weight}; it must be 1 to {HEAVIEST}. To empty a node, drain it."
            )
        NodeWeight.objects.update_or_create(node_id=node_id, defaults={"weight": weight, "by": by})
        decisions.record("weight", node_id=node_id, by=by, reason=f"{weight} asked for")
        return f"{node_id} has the weight {weight} from now on; 100 is usual."

    def load_test(
        self, directory: Path, *, users: int, steps: int, seconds: float, every_s: float,
        paths: Mapping[str, float], by: str,
    ) -> Iterator[LoadStep]:  # fmt: skip
        """Let more and more users ask this site over loopback; yield each step's figures.

        It takes steps x seconds, and what it measures is kept for `capacity`. BalancingError
        names what is out of bounds, or why nobody could connect.
        """
        web = [node for node in self.nodes() if node["kind"] == "web" and node["state"] != "spare"]
        return load_testing.run_steps(
            directory, users=users, steps=steps, seconds=seconds, every_s=every_s, paths=paths,
            nodes=len(web), by=by,
        )  # fmt: skip

    def capacity(self) -> planning.Capacity | None:
        """Return what the last load test says of users and nodes; None before the first."""
        return planning.latest(conf())

    def weights(self) -> dict[str, int]:
        """Return the weights that were set by hand. One query."""
        return set_weights()


balancer = LoadBalancer()
autoscaler = Autoscaler()


def nodes() -> list[dict[str, Any]]:
    return balancer.nodes()


load_test = balancer.load_test


def drain(node_id: str, *, by: str, stop: bool = True) -> str:
    return balancer.drain(node_id, by=by, stop=stop)


def dry_run(directory: Path) -> DryRun:
    """Return what tells, round by round, what a balancer of this proxy would do."""
    return DryRun(site_in(directory), stores.bus(), conf())


def scale(kind: str, count: int | None, *, by: str) -> str:
    """Hold `count` nodes of a kind; None lets demand decide."""
    return autoscaler.release(kind, by=by) if count is None else autoscaler.set(kind, count, by=by)


def latest_decisions(limit: int = 30) -> list[Decision]:
    """Return the newest decisions first. One query."""
    return list(Decision.objects.order_by("-id")[:limit])


def targets() -> dict[str, int]:
    """Return what people set by hand, by kind. One query."""
    return dict(ScaleTarget.objects.values_list("kind", "count"))
