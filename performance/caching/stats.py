"""What each family did, counted in this process and added up over all of them on the bus.

A hash a minute (`caching:stats:<minute>`, fields `family|counter`) kept for two hours: the page
and the command read the last fifteen. Counting is one attribute; sending is one pipeline a second.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import redis

from performance.core import signals, stores

STATS_KEPT_S = 2 * 3600
PROCESS_KEPT_S = 10
WINDOW_MINUTES = 15
BUCKETS_AN_OCTAVE = 4

COUNTERS = (
    "hit_l1",
    "hit_l2",
    "stale",
    "miss",
    "bypass",
    "early",
    "failed",
    "fallback",
    "unreadable",
    "too_big",
    "over_budget",
    "busy",
    "too_slow",
    "waited",
    "loads",
    "load_us",
    "saved_us",
    "written_bytes",
    "outdated",
    "evicted",
    "compared",
    "changed",
    "compared_ms",
    "audited",
    "audited_stale",
)


class Counts:
    """One family's counters in this process; they only grow. `x += 1` is one step under the GIL."""

    __slots__ = (*COUNTERS, "buckets")

    def __init__(self) -> None:
        for name in COUNTERS:
            setattr(self, name, 0)
        self.buckets: dict[int, int] = defaultdict(int)

    def loaded(self, seconds: float) -> None:
        self.loads += 1
        self.load_us += int(seconds * 1e6)
        self.buckets[bucket(seconds * 1e6)] += 1

    def flat(self) -> dict[str, int]:
        flat = {name: getattr(self, name) for name in COUNTERS}
        flat.update({f"b{index}": count for index, count in list(self.buckets.items())})
        return flat

    # Declared for the type checker; __init__ sets them from COUNTERS.
    hit_l1: int
    hit_l2: int
    stale: int
    miss: int
    bypass: int
    early: int
    failed: int
    fallback: int
    unreadable: int
    too_big: int
    over_budget: int
    busy: int
    too_slow: int
    waited: int
    loads: int
    load_us: int
    saved_us: int
    written_bytes: int
    outdated: int
    """Misses that met a value which an invalidation had ended before its time."""
    evicted: int
    """Entries that left memory because others needed the room."""
    compared: int
    """Refreshes whose value was held against the one before; `changed` found another."""
    changed: int
    compared_ms: int
    """The time between all those pairs, added up."""
    audited: int
    audited_stale: int


def bucket(microseconds: float) -> int:
    """Return the log-linear bucket of a duration: four an octave, so at most 19 % off."""
    return int(math.log2(max(microseconds, 1.0)) * BUCKETS_AN_OCTAVE)


def percentile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration under which `share` of the loads stayed; None without any."""
    total = sum(buckets.values())
    if not total:
        return None
    seen = 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= share * total:
            break
    upper_us: float = 2.0 ** ((index + 1) / BUCKETS_AN_OCTAVE)
    return upper_us / 1000


class Sender:
    """Sends what grew since the last time; what could not be sent is sent the next time."""

    def __init__(self) -> None:
        self._sent: dict[str, dict[str, int]] = {}

    def send(self, counts: Mapping[str, Counts], process: str, state: dict[str, Any]) -> None:
        grown = self._grown(counts)
        key = minute_key(time.time())
        pipeline = stores.bus().pipeline(transaction=True)
        for family, deltas in grown.items():
            for name, amount in deltas.items():
                pipeline.hincrby(key, f"{family}|{name}", amount)
        if grown:
            pipeline.expire(key, STATS_KEPT_S)
        pipeline.set(process_key(process), msgspec.json.encode(state), ex=PROCESS_KEPT_S)
        pipeline.sadd(PROCESSES, process)
        pipeline.execute()
        for family, deltas in grown.items():
            sent = self._sent.setdefault(family, {})
            for name, amount in deltas.items():
                sent[name] = sent.get(name, 0) + amount
            _report(family, deltas)

    def _grown(self, counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
        grown = {}
        for family, now in list(counts.items()):
            before = self._sent.get(family, {})
            deltas = {
                name: value - before.get(name, 0)
                for name, value in now.flat().items()
                if value != before.get(name, 0)
            }
            if deltas:
                grown[family] = deltas
        return grown


PROCESSES = "caching:processes"


def process_key(process: str) -> str:
    return f"caching:process:{process}"


def minute_key(at_s: float) -> str:
    return f"caching:stats:{int(at_s // 60)}"


def _report(family: str, deltas: Mapping[str, int]) -> None:
    """Tell monitoring, once a second and not once a hit: a hit costs less than a call."""
    for name, key in (("hit_l1", "l1"), ("hit_l2", "hit"), ("stale", "stale"), ("miss", "miss")):
        if deltas.get(name):
            signals.recorder.count("cache", f"{family}:{key}", deltas[name])


Minute = tuple[float, dict[str, dict[str, int]]]
"""When the minute began, in Unix seconds, and the counters of every family in it."""


def by_minute(*, minutes: int = WINDOW_MINUTES) -> list[Minute]:
    """Return the last `minutes`, oldest first, the running one too, over all processes.

    One round trip. redis.RedisError when the bus is away.
    """
    first_s = (time.time() // 60 - minutes + 1) * 60
    starts = [first_s + 60 * number for number in range(minutes)]
    pipeline = stores.bus().pipeline(transaction=False)
    for start_s in starts:
        pipeline.hgetall(minute_key(start_s))
    return [
        (start_s, _by_family(minute))
        for start_s, minute in zip(starts, pipeline.execute(), strict=True)
    ]


def _by_family(minute: Mapping[bytes, bytes]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for field, amount in minute.items():
        family, _, name = field.decode().rpartition("|")
        found.setdefault(family, {})[name] = int(amount)
    return found


def added(minutes: Iterable[Minute]) -> dict[str, dict[str, int]]:
    """Return the counters of every family, added up over `minutes`."""
    summed: dict[str, dict[str, int]] = {}
    for _, families in minutes:
        for family, counters in families.items():
            into = summed.setdefault(family, {})
            for name, amount in counters.items():
                into[name] = into.get(name, 0) + amount
    return summed


def totals(*, minutes: int = WINDOW_MINUTES) -> dict[str, dict[str, int]]:
    """Return the counters of every family over all processes, for the last `minutes`."""
    return added(by_minute(minutes=minutes))


def processes() -> list[dict[str, Any]]:
    """Return what each living process last said of itself: breaker, memory, bytes, entries."""
    bus = stores.bus()
    names: Any = bus.smembers(PROCESSES)
    if not names:
        return []
    ordered = sorted(name.decode() for name in names)
    values: Any = bus.mget([process_key(name) for name in ordered])
    gone = [name for name, value in zip(ordered, values, strict=True) if value is None]
    if gone:
        bus.srem(PROCESSES, *gone)
    return [msgspec.json.decode(value) for value in values if value is not None]


Away = (redis.RedisError, OSError)
"""What sending and reading may raise while the bus is away."""
