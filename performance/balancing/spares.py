"""Nodes that are started ahead: they wait, listening, until a decision or a death lets them in.

Who is a spare needs no memory of its own. A node that announces itself as one waits until the
proxy's list has it, and is a node like the others from then on; so a leader that dies half-way
leaves nothing that the next one would not see or ask for again by the same name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence

from performance.balancing import decisions
from performance.balancing.errors import SupervisorFailed
from performance.balancing.executor import Executor
from performance.balancing.nodes import Node, free_ids

logger = logging.getLogger(__name__)

KEEPER = "autoscaler"
BOOT_LIMIT_S = 120.0
"""A spare boots behind everything else, so on a busy machine it takes its time."""
FAILED_PAUSE_S = 15.0


def split(announced: Iterable[Node], used: Collection[str]) -> tuple[list[Node], list[Node]]:
    """Return the nodes and those that wait; `used` are the names that the proxy has. Pure."""
    nodes: list[Node] = []
    waiting: list[Node] = []
    for node in announced:
        (waiting if node.spare and node.id not in used else nodes).append(node)
    return nodes, waiting


def too_many(ready: Sequence[Node], builds: Collection[str], wanted: int) -> list[tuple[Node, str]]:
    """Return the spares that should go, each with the reason. Pure.

    One of another build than all nodes that work (`builds`) would bring old code back.
    """
    stale = [node for node in ready if builds and node.build not in builds]
    fresh = [node for node in ready if node not in stale]
    return [
        *((node, f"a spare of the build {node.build or '–'}, which nobody runs") for node in stale),
        *((node, f"{wanted} spare nodes are wanted") for node in fresh[wanted:]),
    ]


class Spares:
    """Keeps so many nodes of one kind waiting; one boots at a time, and none while others do."""

    def __init__(self, kind: str, wanted: int, executor: Executor, grace_s: float) -> None:
        """`grace_s`: how long one that fell silent may take to come back by itself."""
        self._kind = kind
        self._wanted = wanted
        self._executor = executor
        self._grace_s = grace_s
        self._starting: dict[str, float] = {}
        """Name -> until when it is waited for."""
        self._ready: set[str] = set()
        self._silent: dict[str, float] = {}
        """Name -> since when it is missed."""
        self._paused_until_s = 0.0

    @property
    def starting(self) -> list[str]:
        return sorted(self._starting)

    def keep(
        self, ready: Sequence[Node], nodes: Sequence[Node], others: Collection[str],
        *, may_start: bool, token: int,
    ) -> list[str]:  # fmt: skip
        """Bring the spares one step nearer to the wanted number; return the names just stopped.

        `ready` are those that wait and `nodes` those that work; `others` are names on their way in
        or out, which are somebody else's to see to. Without `may_start` nothing boots.
        """
        now = time.monotonic()
        elsewhere = {*(node.id for node in nodes), *others}
        self._look(ready, elsewhere, now)
        gone: list[str] = []
        builds = {node.build for node in nodes}
        for node, reason in too_many(ready, builds, self._wanted)[:1]:
            gone += self._stop(node.id, reason, token)
        for name in [name for name, since in self._silent.items() if now - since > self._grace_s]:
            gone += self._stop(name, "a spare that is silent and did not come back", token)
        there = len(ready) - len(gone) + len(self._silent) + len(self._starting)
        if may_start and there < self._wanted and not self._starting and now > self._paused_until_s:
            taken = [*elsewhere, *(node.id for node in ready), *self._silent, *gone]
            self._start(free_ids(self._kind, taken, 1)[0], token)
        return gone

    def _look(self, ready: Sequence[Node], elsewhere: Collection[str], now: float) -> None:
        here = {node.id for node in ready}
        self._starting = {
            name: until
            for name, until in self._starting.items()
            if until > now and name not in here and name not in elsewhere
        }
        missed = (self._ready | self._silent.keys()) - here - set(elsewhere)
        self._silent = {name: self._silent.get(name, now) for name in missed}
        self._ready = here

    def _start(self, node_id: str, token: int) -> None:
        try:
            self._executor.start(self._kind, node_id, spare=True)
        except SupervisorFailed as error:
            self._failed(node_id, error, token)
            return
        self._starting[node_id] = time.monotonic() + BOOT_LIMIT_S
        decisions.record(
            "spare", kind=self._kind, node_id=node_id, by=KEEPER, token=token,
            reason=f"started ahead; {self._wanted} should wait",
        )  # fmt: skip

    def _stop(self, node_id: str, reason: str, token: int) -> list[str]:
        try:
            self._executor.stop(self._kind, node_id)
        except SupervisorFailed as error:
            self._failed(node_id, error, token)
            return []
        self._ready.discard(node_id)
        self._silent.pop(node_id, None)
        decisions.record(
            "stop", kind=self._kind, node_id=node_id, by=KEEPER, token=token, reason=reason
        )
        return [node_id]

    def _failed(self, node_id: str, error: SupervisorFailed, token: int) -> None:
        if time.monotonic() < self._paused_until_s:
            return
        self._paused_until_s = time.monotonic() + FAILED_PAUSE_S
        decisions.record(
            "failed", kind=self._kind, node_id=node_id, by=KEEPER, token=token, reason=str(error)
        )
