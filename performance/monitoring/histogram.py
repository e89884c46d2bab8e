"""Durations in exponential buckets, 16 an octave: any percentile within 2.2 %, merged by adding.

Bucket `i` holds `2**((i-1)/16) < seconds <= 2**(i/16)`: scale 4 of OpenTelemetry's exponential and
Prometheus's native histograms, so nothing is binned anew for export. Pure; no clock, no settings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

OCTAVE = 16
LOWEST = -20 * OCTAVE
"""The bucket of everything up to 2**-20 s, about a microsecond; zero lies here."""
HIGHEST_S = 2.0**25
"""A year. What is beyond is no duration but a mistake, and is refused."""
ERROR_RATIO = 2 ** (1 / (2 * OCTAVE)) - 1
"""The worst relative error of a percentile: 0.0219."""

FEW = 8
"""Fewer durations are counted sooner one by one."""

_FLOOR_S = 2.0 ** (LOWEST / OCTAVE)
_log2, _ceil = math.log2, math.ceil


def bucket_of(seconds: float) -> int:
    """Return the index of the bucket that holds `seconds` (0 or more).

    >>> bucket_of(1.0), bucket_of(0.5), bucket_of(0.0)
    (0, -16, -320)
    """
    return _ceil(_log2(seconds) * OCTAVE) if seconds > _FLOOR_S else LOWEST


class Histogram(msgspec.Struct, array_like=True, eq=True):
    """How often and how long. Sums are whole microseconds, so that subtracting is exact."""

    n: int = 0
    sum_us: int = 0
    max_us: int = 0
    buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one duration; the caller has checked that 0 <= seconds <= HIGHEST_S."""
        us = int(seconds * 1e6)
        self.n += 1
        self.sum_us += us
        if us > self.max_us:
            self.max_us = us
        index = _ceil(_log2(seconds) * OCTAVE) if seconds > _FLOOR_S else LOWEST
        buckets = self.buckets
        buckets[index] = buckets.get(index, 0) + 1

    def add_all(self, durations: Sequence[float]) -> None:
        """Count many at once (at least one), checked as for `add`; at a third of its cost.

        Their sum is rounded once, not each.
        """
        if len(durations) < FEW:
            for seconds in durations:
                self.add(seconds)
            return
        self.n += len(durations)
        self.sum_us += round(math.fsum(durations) * 1e6)
        self.max_us = max(self.max_us, int(max(durations) * 1e6))
        found = Counter(
            [
                _ceil(_log2(seconds) * OCTAVE) if seconds > _FLOOR_S else LOWEST
                for seconds in durations
            ]
        )
        mine = self.buckets
        for index, count in found.items():
            mine[index] = mine.get(index, 0) + count

    def merge(self, other: Histogram) -> None:
        self.n += other.n
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        mine = self.buckets
        for index, count in other.buckets.items():
            mine[index] = mine.get(index, 0) + count

    def subtract(self, other: Histogram) -> None:
        """Take back what an earlier `merge` added. `max_us` stays: a maximum cannot be undone."""
        self.n -= other.n
        self.sum_us -= other.sum_us
        for index, count in other.buckets.items():
            left = self.buckets.get(index, 0) - count
            if left > 0:
                self.buckets[index] = left
            else:
                self.buckets.pop(index, None)

    def copy(self) -> Histogram:
        return Histogram(self.n, self.sum_us, self.max_us, dict(self.buckets))

    @property
    def mean_s(self) -> float | None:
        return self.sum_us / self.n / 1e6 if self.n else None

    def percentile(self, share: float) -> float | None:
        """Return the nearest-rank percentile in seconds, within ERROR_RATIO; None when empty.

        >>> latencies = Histogram()
        >>> for ms in range(1, 101):
        ...     latencies.add(ms / 1000)
        >>> abs(latencies.percentile(0.95) / 0.095 - 1) <= ERROR_RATIO
        True
        """
        return self.percentiles([share])[0]

    def percentiles(self, shares: Iterable[float]) -> list[float | None]:
        """Return several percentiles in one pass; `shares` grow, each from 0 to 1."""
        wanted = list(shares)
        total = sum(self.buckets.values())
        if not total:
            return [None] * len(wanted)
        found: list[float | None] = []
        seen = 0
        indexes = iter(sorted(self.buckets))
        index = LOWEST
        for share in wanted:
            rank = max(1, math.ceil(share * total))
            while seen < rank:
                index = next(indexes)
                seen += self.buckets[index]
            found.append(_middle_s(index))
        return found

    def cumulative(self, octaves: Iterable[int]) -> list[int]:
        """Count what is at most `2**octave` seconds, for each octave: exact, no bucket is cut."""
        return [
            sum(count for index, count in self.buckets.items() if index <= octave * OCTAVE)
            for octave in octaves
        ]


def _middle_s(index: int) -> float:
    """The geometric middle of a bucket: off by at most half a bucket's width on either side."""
    return 0.0 if index <= LOWEST else 2 ** ((index - 0.5) / OCTAVE)
