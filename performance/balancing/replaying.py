"""A recorded demand played through the scaler's own rules, before they are trusted. Pure."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from performance.balancing.scaling import Memory, Policy, Sample, Verdict, decide

FLAP_S = 600.0
"""A node that is stopped and wanted again within this time, or the reverse, was a flap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the scaler would have done with a recorded demand."""

    verdicts: tuple[tuple[float, Verdict], ...]
    node_hours: float
    fixed_node_hours: float
    """The same time with the maximum of nodes always on."""
    short_s: float
    """Time in which demand was above all slots of the nodes that were up."""
    missed_s: float
    """Time out of the objective: demand above all slots, or a recorded queue above the target."""
    total_s: float
    flaps: int
    """Changes of direction within ten minutes."""


@dataclass(slots=True)
class _Fleet:
    present: int
    booting: deque[tuple[float, int]]

    @property
    def coming(self) -> int:
        return sum(count for _, count in self.booting)

    def pass_time(self, now_s: float) -> None:
        while self.booting and self.booting[0][0] <= now_s:
            self.present += self.booting.popleft()[1]


def replay(demand: Iterable[Sample], policy: Policy, boot_s: float) -> Replay:
    """Play recorded samples; `ready` in them is ignored, nodes start `boot_s` after the verdict."""
    memory, fleet = Memory(), _Fleet(policy.minimum, deque())
    verdicts: list[tuple[float, Verdict]] = []
    busy_s = total_s = short_s = missed_s = 0.0
    last_s: float | None = None
    for seen in demand:
        step_s = 0.0 if last_s is None else max(0.0, seen.at_s - last_s)
        last_s = seen.at_s
        fleet.pass_time(seen.at_s)
        ready = fleet.present + fleet.coming
        busy_s += ready * step_s
        total_s += step_s
        short = (seen.in_use or 0) + (seen.queued or 0) > fleet.present * policy.slots
        slow = seen.queue_ms is not None and seen.queue_ms > policy.queue_target_ms
        short_s += step_s if short else 0.0
        missed_s += step_s if short or slow else 0.0
        verdict = decide(memory, replace(seen, ready=ready), policy)
        if verdict.action == "scale_up":
            fleet.booting.append((seen.at_s + boot_s, verdict.count - ready))
        elif verdict.action == "scale_down":
            fleet.present -= ready - verdict.count
        if verdict.action != "hold":
            verdicts.append((seen.at_s, verdict))
    return Replay(
        verdicts=tuple(verdicts), node_hours=busy_s / 3600,
        fixed_node_hours=policy.maximum * total_s / 3600,
        short_s=short_s, missed_s=missed_s, total_s=total_s, flaps=_flaps(verdicts),
    )  # fmt: skip


def _flaps(verdicts: list[tuple[float, Verdict]]) -> int:
    pairs = itertools.pairwise(verdicts)
    return sum(
        one.action != other.action and other_s - one_s <= FLAP_S
        for (one_s, one), (other_s, other) in pairs
    )
