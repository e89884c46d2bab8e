"""How many nodes are wanted, from demand. Pure: no clock, no settings, no servers.

Little's law sets the scale: requests in the house (in nodes and in the queue) over the slots of
a node give the nodes that are busy. Two windows look at it, as Knative does: 60 s decide in calm,
6 s in a rush. The rest keeps a wrong number from doing harm.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

RUSH = 2.0
"""A rush is when the short window wants at least this many times the nodes that are ready."""
SLOW_TICKS = 2
"""A queue must be too slow on this many ticks in a row to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at one kind of node. None means that it could not be measured."""

    at_s: float
    """Monotonic; only differences matter."""
    ready: int
    """Nodes that answer and are not draining."""
    in_use: int | None
    """Slots in use, over all nodes."""
    queued: int | None
    queue_ms: float | None = None
    """How long a request waits for its slot: the 95th percentile where nodes tell it."""
    cpu_ratio: float | None = None
    """Mean share of a core that the nodes use, 0 to 1."""
    floors: Mapping[str, int] = field(default_factory=dict)
    """Nodes wanted ahead of demand, by who wants them: fixtures, the time of the week."""
    unknown: tuple[str, ...] = ()
    """The floors that could not be told now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The bounds and targets of one kind. Times are in seconds."""

    slots: int
    minimum: int
    maximum: int
    cap: int | None = None
    """What the database's connections allow; None when it could not be asked."""
    utilisation: float = 0.7
    tolerance: float = 0.1
    queue_target_ms: float = 20.0
    stable_s: float = 60.0
    panic_s: float = 6.0
    down_s: float = 300.0
    up_every_s: float = 15.0
    down_every_s: float = 60.0

    @property
    def ceiling(self) -> int:
        """The most nodes; never below the minimum, whatever the cap says."""
        most = self.maximum if self.cap is None else min(self.maximum, self.cap)
        return max(self.minimum, most)


@dataclass(slots=True)
class Memory:
    """What the scaler remembers between ticks; lost with its process, and then it is careful."""

    demand: deque[tuple[float, int]] = field(default_factory=deque)
    raws: deque[tuple[float, int]] = field(default_factory=deque)
    slow_ticks: int = 0
    rush_until_s: float = -math.inf
    last_up_s: float = -math.inf
    last_down_s: float = -math.inf
    since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How many nodes are wanted now, and why."""

    count: int
    action: str
    """`scale_up`, `scale_down` or `hold`."""
    reason: str
    inputs: dict[str, Any]


def decide(memory: Memory, sample: Sample, policy: Policy) -> Verdict:
    """Return the wanted number for one tick, and remember what it was decided from."""
    if memory.since_s is None:
        memory.since_s = sample.at_s
    now, present = sample.at_s, sample.ready
    wants, missing = _wants(memory, sample, policy)
    raw = max(wants.values(), default=present)
    if present and abs(raw - present) <= policy.tolerance * present + 1e-9:
        raw = present
    _remember(memory.raws, now, max(raw, _kept(memory, sample, policy)), policy.down_s)
    inputs = {
        "ready": present, "in_use": sample.in_use, "queued": sample.queued,
        "queue_ms": sample.queue_ms, "cpu_ratio": sample.cpu_ratio, "wants": wants,
        "raw": raw, "minimum": policy.minimum, "ceiling": policy.ceiling, "missing": missing,
    }  # fmt: skip

    count, reason = _step(memory, present, raw, wants, missing, now, policy)
    count, reason = _clamp(count, reason, policy)
    action = "scale_up" if count > present else "scale_down" if count < present else "hold"
    if action == "scale_up":
        memory.last_up_s = now
    elif action == "scale_down":
        memory.last_down_s = now
    return Verdict(count=count, action=action, reason=reason, inputs=inputs)


def _wants(memory: Memory, sample: Sample, policy: Policy) -> tuple[dict[str, int], list[str]]:
    """Return the number each signal wants, and the names of the signals that are missing."""
    now, present = sample.at_s, sample.ready
    wants: dict[str, int] = {}
    missing: list[str] = []
    if sample.in_use is None or sample.queued is None:
        missing.append("slots")
    else:
        _remember(memory.demand, now, sample.in_use + sample.queued, policy.stable_s)
        share = policy.slots * policy.utilisation
        wants["stable"] = math.ceil(_mean(memory.demand, now - policy.stable_s) / share)
        rush = math.ceil(_mean(memory.demand, now - policy.panic_s) / share)
        if rush >= RUSH * max(present, 1):
            memory.rush_until_s = now + policy.stable_s
        if now < memory.rush_until_s:
            wants["rush"] = rush
    if sample.queue_ms is None:
        missing.append("queue")
        memory.slow_ticks = 0
    elif sample.queue_ms > policy.queue_target_ms:
        memory.slow_ticks += 1
        if memory.slow_ticks >= SLOW_TICKS:
            wants["queue"] = math.ceil(present * min(2, sample.queue_ms / policy.queue_target_ms))
    else:
        memory.slow_ticks = 0
    if sample.cpu_ratio is None:
        missing.append("cpu")
    else:
        wants["cpu"] = math.ceil(round(present * sample.cpu_ratio / policy.utilisation, 6))
    return {**wants, **sample.floors}, [*missing, *sample.unknown]


def _kept(memory: Memory, sample: Sample, policy: Policy) -> int:
    """Return the nodes that demand would need with half the tolerance on top.

    Fewer are not gone down to: at the edge between two numbers noise would take a node away and
    bring it back every few minutes.
    """
    share = policy.slots * policy.utilisation
    more = 1 + policy.tolerance / 2
    kept = math.ceil(more * _mean(memory.demand, sample.at_s - policy.stable_s) / share)
    if sample.cpu_ratio is not None:
        by_cpu = more * sample.ready * sample.cpu_ratio / policy.utilisation
        kept = max(kept, math.ceil(round(by_cpu, 6)))
    return kept


def _step(
    memory: Memory, present: int, raw: int, wants: dict[str, int], missing: list[str],
    now: float, policy: Policy,
) -> tuple[int, str]:  # fmt: skip
    """Return the number that the rate limits allow, and the sentence that says why."""
    if raw > present:
        signal = max(wants, key=lambda name: wants[name])
        if now - memory.last_up_s < policy.up_every_s:
            # A rush counts requests, and nodes that still boot are among the present ones, so it
            # asks for none twice. The other signals see new nodes only once these work.
            if wants.get("rush", 0) <= present:
                return present, f"{signal} wants {raw}, but nodes were started moments ago"
            signal, raw = "rush", wants["rush"]
        count = min(raw, max(2 * present, present + 4))
        return count, f"{signal} wants {raw} where {present} are ready"
    if raw == present:
        return present, "demand fits the nodes that are there"
    if missing:
        return present, f"fewer would do, but not measured: {', '.join(missing)}"
    if now < memory.rush_until_s:
        return present, "fewer would do, but a rush was on within the minute"
    if memory.since_s is None or now - memory.since_s < policy.down_s:
        return present, f"fewer would do, but it was watched for less than {policy.down_s:.0f} s"
    highest = max(raw for _, raw in memory.raws)
    if highest >= present:
        return (
            present,
            f"fewer would do, but {highest} were wanted in the last {policy.down_s:.0f} s",
        )
    if now - memory.last_down_s < policy.down_every_s:
        return present, "fewer would do, but a node was stopped within the minute"
    return present - 1, f"no more than {highest} were wanted in the last {policy.down_s:.0f} s"


def _clamp(count: int, reason: str, policy: Policy) -> tuple[int, str]:
    if count < policy.minimum:
        return policy.minimum, f"{reason}; at least {policy.minimum}"
    if count > policy.ceiling:
        by_database = policy.ceiling < policy.maximum
        why = "the database's connections allow" if by_database else "the setting allows"
        return policy.ceiling, f"{reason}; {why} {policy.ceiling}"
    return count, reason


def _remember(values: deque[tuple[float, int]], now: float, value: int, window_s: float) -> None:
    values.append((now, value))
    while values and values[0][0] < now - window_s:
        values.popleft()


def _mean(values: Iterable[tuple[float, int]], since_s: float) -> float:
    recent = [value for at, value in values if at >= since_s]
    return sum(recent) / len(recent) if recent else 0.0
