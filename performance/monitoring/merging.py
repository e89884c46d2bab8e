"""Samples of many processes become one second, and seconds become a window. Pure.

Everything is counted once: a sample that was resent is known by its process and number. What is
beyond `max_series` names in an hour goes to `__other__` of its kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from performance.monitoring import wire
from performance.monitoring.histogram import Histogram

SILENT_S = 5
"""A process not heard of for this long no longer counts in memory and gauges."""
FORGOTTEN_S = 600
"""Nor is it missed any more after this: long enough for an alert to have been seen."""

Counts = dict[tuple[str, str], int]
Gauges = dict[tuple[str, str], float]


@dataclass(slots=True)
class Merged:
    """What all processes saw in some span of time."""

    series: dict[wire.SeriesKey, Histogram] = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    gauges: Gauges = field(default_factory=dict)

    def add(self, other: Merged) -> None:
        """Add the other's series and counts; its gauges, being of a moment, replace ours."""
        for key, histogram in other.series.items():
            mine = self.series.get(key)
            if mine is None:
                self.series[key] = histogram.copy()
            else:
                mine.merge(histogram)
        for name, amount in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + amount
        self.gauges |= other.gauges

    def subtract(self, other: Merged) -> None:
        """Take back what `add` added; exact, and what falls to zero is gone."""
        for key, histogram in other.series.items():
            mine = self.series[key]
            mine.subtract(histogram)
            if not mine.n:
                del self.series[key]
        for name, amount in other.counts.items():
            self.counts[name] -= amount
            if not self.counts[name]:
                del self.counts[name]

    def of_kind(self, kind: str) -> Histogram:
        """Merge all series of a kind."""
        total = Histogram()
        for key, histogram in self.series.items():
            if key[0] == kind:
                total.merge(histogram)
        return total


@dataclass(slots=True)
class ProcessState:
    """What was last heard of one process. Seconds are the bus's clock."""

    node: str
    process: str
    pid: int
    born: int
    number: int
    heard_s: float
    rss_bytes: int = 0
    cpu_ratio: float = 0.0
    lag_ms: float = 0.0
    cost_ms: float = 0.0
    dropped: int = 0
    """Since the process began to be heard."""
    gauges: list[tuple[str, str, float]] = field(default_factory=list)
    build: str = ""


class Admission:
    """Who gets a series of its own. Forgets by the hour, so that old names do not fill it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[wire.SeriesKey] = set()
        self._hour = 0
        self.folded = 0
        """Series-seconds that went to `__other__`."""

    def begin(self, at_s: float) -> None:
        if int(at_s) // 3600 != self._hour:
            self._hour = int(at_s) // 3600
            self._known.clear()

    def key(self, wanted: wire.SeriesKey) -> wire.SeriesKey:
        if len(wanted[1]) > wire.KEY_LENGTH:
            wanted = (wanted[0], wanted[1][: wire.KEY_LENGTH], wanted[2])
        if wanted in self._known:
            return wanted
        if len(self._known) < self._limit:
            self._known.add(wanted)
            return wanted
        self.folded += 1
        return (wanted[0], wire.OTHER, wanted[2])


class Merger:
    """Takes samples in the stream's order. Not thread-safe: the roller's loop owns it."""

    def __init__(self, *, max_series: int) -> None:
        self.processes: dict[tuple[str, int], ProcessState] = {}
        self.nodes: dict[str, float] = {}
        """node: when it was last heard of; a node that took its leave is not missed."""
        self.hosts: dict[str, tuple[wire.Host, float]] = {}
        """Each machine as it was last seen, and when."""
        self.builds: dict[str, float] = {}
        """Each build that was ever heard here, and when first."""
        self.admission = Admission(max_series)
        self.refused = 0
        """Samples seen twice."""

    def merge(self, samples: Iterable[wire.Sample], at_s: float) -> Merged:
        """Return one second's worth; `at_s` is the bus's clock when the newest was sent."""
        self.admission.begin(at_s)
        merged = Merged()
        for sample in samples:
            if self._note(sample, at_s):
                self._take(sample, merged)
        self._forget(at_s)
        self._gauges(merged, at_s)
        return merged

    def _note(self, sample: wire.Sample, at_s: float) -> bool:
        """Update what is known of the process; False for a sample that was here before."""
        key = (sample.node, sample.pid)
        state = self.processes.get(key)
        if state is not None and state.born == sample.born and sample.number <= state.number:
            self.refused += 1
            return False
        if state is None or state.born != sample.born:
            state = self.processes[key] = ProcessState(
                sample.node, sample.process, sample.pid, sample.born, sample.number, at_s
            )
        state.number, state.heard_s = sample.number, at_s
        state.rss_bytes, state.lag_ms = sample.rss_bytes, sample.lag_ms
        state.cpu_ratio = sample.cpu_s / sample.span_s if sample.span_s > 0 else 0.0
        state.cost_ms, state.gauges = sample.cost_ms, sample.gauges
        state.dropped += sample.dropped
        state.build = sample.build
        if sample.build:
            self.builds.setdefault(sample.build, at_s)
        if sample.host is not None:
            self.hosts[sample.host.name] = (sample.host, at_s)
        self.nodes[sample.node] = at_s
        if sample.leaving:
            del self.processes[key]
            if not any(node == sample.node for node, _ in self.processes):
                del self.nodes[sample.node]
        return True

    def _take(self, sample: wire.Sample, merged: Merged) -> None:
        for kind, key, status, histogram in sample.series:
            name = self.admission.key((kind, key, status))
            mine = merged.series.get(name)
            if mine is None:
                merged.series[name] = histogram
            else:
                mine.merge(histogram)
        for kind, key, amount in sample.counts:
            name = self.admission.key((kind, key, "count"))
            merged.counts[name[:2]] = merged.counts.get(name[:2], 0) + amount
        if sample.dropped:
            slot = ("recorder", "dropped")
            merged.counts[slot] = merged.counts.get(slot, 0) + sample.dropped

    def _forget(self, at_s: float) -> None:
        for key, state in list(self.processes.items()):
            silent_s = at_s - state.heard_s
            if silent_s > FORGOTTEN_S or (silent_s > SILENT_S and self._replaced(state, at_s)):
                del self.processes[key]
        for name, (_, seen_s) in list(self.hosts.items()):
            if at_s - seen_s > FORGOTTEN_S:
                del self.hosts[name]
        for node, heard_s in list(self.nodes.items()):
            if at_s - heard_s > FORGOTTEN_S:
                del self.nodes[node]

    def _replaced(self, state: ProcessState, at_s: float) -> bool:
        """Say whether a younger process of the same node is heard: then nobody misses this one."""
        return any(
            other.node == state.node
            and other.born > state.born
            and at_s - other.heard_s <= SILENT_S
            for other in self.processes.values()
        )

    def _gauges(self, merged: Merged, at_s: float) -> None:
        """Gauges of one name are added over processes; memory is added by node."""
        gauges = merged.gauges
        for state in self.processes.values():
            if at_s - state.heard_s > SILENT_S:
                continue
            slot = ("memory", state.node)
            gauges[slot] = gauges.get(slot, 0.0) + state.rss_bytes
            for kind, key, value in state.gauges:
                gauges[kind, key] = gauges.get((kind, key), 0.0) + value


class Window:
    """The last `length` seconds, kept merged by adding the new and taking back the old."""

    def __init__(self, length: int = 60) -> None:
        self.length = length
        self.total = Merged()
        self._seconds: deque[Merged] = deque()

    def push(self, second: Merged) -> None:
        self._seconds.append(second)
        self.total.add(second)
        self.total.gauges = dict(second.gauges)
        if len(self._seconds) > self.length:
            self.total.subtract(self._seconds.popleft())

    @property
    def span_s(self) -> int:
        """How many seconds are in it: below `length` only at the beginning."""
        return len(self._seconds)


def to_rows(
    merged: Merged,
) -> tuple[list[tuple[str, str, str, Histogram]], list[tuple[str, str, int]]]:
    """Return series and counts as the wire has them."""
    return (
        [(*key, histogram) for key, histogram in merged.series.items()],
        [(*name, amount) for name, amount in merged.counts.items()],
    )


def from_rows(
    series: Iterable[tuple[str, str, str, Histogram]],
    counts: Iterable[tuple[str, str, int]],
    gauges: Iterable[tuple[str, str, float]] = (),
) -> Merged:
    return Merged(
        {(kind, key, status): histogram for kind, key, status, histogram in series},
        {(kind, key): amount for kind, key, amount in counts},
        {(kind, key): value for kind, key, value in gauges},
    )


def hit_ratio(merged: Merged) -> float | None:
    """Share of cached reads that needed no loader, over all families; None without any read."""
    outcomes: Mapping[str, int] = cache_outcomes(merged)
    total = sum(outcomes.values())
    return (total - outcomes["miss"]) / total if total else None


def cache_outcomes(merged: Merged) -> dict[str, int]:
    """Count `family:outcome` keys of kind `cache`, whether they were timed or only counted."""
    found = {"hit": 0, "l1": 0, "stale": 0, "miss": 0}
    timed = ((key[1], row.n) for key, row in merged.series.items() if key[0] == "cache")
    counted = ((name[1], amount) for name, amount in merged.counts.items() if name[0] == "cache")
    for key, amount in (*timed, *counted):
        outcome = key.rpartition(":")[2]
        if outcome in found:
            found[outcome] += amount
    return found
