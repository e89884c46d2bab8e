"""Durations as they come, in one list for all series, and counted into histograms by the batch.

Appending to a list is one step under the interpreter's lock, and whoever takes from it takes from
its front: so the hot path needs no lock of its own, and nothing is lost between threads. It looks
nothing up either: in the midst of a request what a look-up touches is in no CPU cache, and costs
several times what it does here, where a whole second is sorted at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import cast

from performance.monitoring import wire
from performance.monitoring.histogram import HIGHEST_S, Histogram

FULL = 2048
"""Durations that are held before they are counted, not waiting for the second's end."""
IDLE_SECONDS = 60
"""A series without any for so long gives its place to others."""

Series = dict[wire.SeriesKey, Histogram]
Key = str | tuple[str, str, bool]
"""A series' key; of requests also what `named` makes one of, here and once for all that share it.
"""
Noted = tuple[str, Key, str, float]
"""kind, key, status, seconds."""


class Durations:
    """`fresh` is for the hot path: append to it, and call `count` when it has FULL."""

    def __init__(self, limit: int, named: Callable[[Key], str] = str) -> None:
        self.fresh: list[Noted] = []
        self._limit = limit
        self._named = named
        self._lock = threading.Lock()
        self._counted: Series = {}
        self._idle: dict[wire.SeriesKey, int] = {}
        self._dropped = 0

    def count(self) -> None:
        """Count what is there now: many measurements a second must not fill the memory."""
        with self._lock:
            for (kind, key, status), durations in self._by_series().items():
                name = self._named(key) if kind == "request" else cast("str", key)
                series = self._admit((kind, name, status), len(durations))
                self._dropped += _add(self._counted, series, durations)

    def swap(self) -> tuple[Series, int]:
        """Return what came since the last call, and how many observations were dropped or folded.

        To be called by one thread at a time.
        """
        self.count()
        with self._lock:
            counted, self._counted = self._counted, {}
            dropped, self._dropped = self._dropped, 0
            self._retire(counted)
        return counted, dropped

    def _by_series(self) -> dict[tuple[str, Key, str], list[float]]:
        taken = self.fresh[:]
        del self.fresh[: len(taken)]
        found: dict[tuple[str, Key, str], list[float]] = {}
        for kind, key, status, seconds in taken:
            try:
                found[kind, key, status].append(seconds)
            except KeyError:
                found[kind, key, status] = [seconds]
            except TypeError:  # a key that cannot be one: the caller's bug, counted
                self._dropped += 1
        return found

    def _admit(self, series: wire.SeriesKey, durations: int) -> wire.SeriesKey:
        """Return the series itself, or its kind's rest beyond the limit."""
        if series not in self._idle:
            if len(self._idle) >= self._limit:
                self._dropped += durations
                return series[0], wire.OTHER, series[2]
            self._idle[series] = 0
        return series

    def _retire(self, counted: Series) -> None:
        for series, idle in list(self._idle.items()):
            if series in counted:
                self._idle[series] = 0
            elif idle + 1 >= IDLE_SECONDS:
                del self._idle[series]
            else:
                self._idle[series] = idle + 1


def _add(all_series: Series, key: wire.SeriesKey, durations: list[float]) -> int:
    """Count durations into their series; return how many were none and are left out."""
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
