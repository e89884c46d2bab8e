"""Durations as they come, in one list a series, and counted into histograms by the batch.

Appending to a list is one step under the interpreter's lock, and whoever takes from it takes from
its front: so the hot path needs no lock of its own, and nothing is lost between threads.
"""

from __future__ import annotations

import math
import threading

from performance.monitoring import wire
from performance.monitoring.histogram import HIGHEST_S, Histogram

FULL = 2048
"""Durations that a series holds before they are counted, not waiting for the second's end."""
IDLE_SECONDS = 60
"""A series without any for so long gives its place to others."""

Series = dict[wire.SeriesKey, Histogram]


class Durations:
    """`lists` is for the hot path: append to what it has, and ask `admit` for what it has not."""

    def __init__(self, limit: int) -> None:
        self.lists: dict[wire.SeriesKey, list[float]] = {}
        self._limit = limit
        self._lock = threading.Lock()
        self._counted: Series = {}
        self._idle: dict[wire.SeriesKey, int] = {}
        self._dropped = 0

    def admit(self, series: wire.SeriesKey) -> list[float]:
        """Return the list of a series that has none yet; of its kind's rest beyond the limit."""
        with self._lock:
            try:
                if series not in self.lists and len(self.lists) >= self._limit:
                    self._dropped += 1
                    series = (series[0], wire.OTHER, series[2])
                return self.lists.setdefault(series, [])
            except TypeError:  # a key that cannot be one: the caller's bug, counted
                self._dropped += 1
                return []

    def count(self, series: wire.SeriesKey) -> None:
        """Count a full list now: many measurements a second must not fill the memory."""
        with self._lock:
            self._dropped += _add(self._counted, series, _take(self.lists.get(series, [])))

    def swap(self) -> tuple[Series, int]:
        """Return what came since the last call, and how many observations were dropped or folded.

        To be called by one thread at a time. Counting is done outside the lock.
        """
        with self._lock:
            counted, self._counted = self._counted, {}
            dropped, self._dropped = self._dropped, 0
            taken = {series: _take(durations) for series, durations in self.lists.items()}
            self._retire(taken)
        for series, durations in taken.items():
            dropped += _add(counted, series, durations)
        return counted, dropped

    def _retire(self, taken: dict[wire.SeriesKey, list[float]]) -> None:
        for series, durations in taken.items():
            if durations:
                self._idle.pop(series, None)
                continue
            idle = self._idle[series] = self._idle.get(series, 0) + 1
            if idle >= IDLE_SECONDS:
                del self._idle[series]
                durations += self.lists.pop(series)  # what came since it was found empty


def _take(durations: list[float]) -> list[float]:
    """Empty a list that others append to, and return what was in it."""
    taken = durations[:]
    del durations[: len(taken)]
    return taken


def _add(all_series: Series, key: wire.SeriesKey, durations: list[float]) -> int:
    """Count durations into their series; return how many were none and are left out."""
    if not durations:
        return 0
    given = len(durations)
    if not _all_fine(durations):
        durations = [one for one in durations if _all_fine([one])]
    if durations:
        histogram = all_series.get(key)
        if histogram is None:
            histogram = all_series[key] = Histogram()
        histogram.add_all(durations)
    return given - len(durations)


def _all_fine(durations: list[float]) -> bool:
    try:
        if math.isnan(sum(durations)):  # it hides from min and max
            return False
        return min(durations) >= 0 and max(durations) <= HIGHEST_S
    except TypeError:
        return False
