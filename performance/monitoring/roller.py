"""The monitor's heart: samples become seconds, tables, minutes and alerts' readings.

It touches only the bus, so that live pages move on while PostgreSQL is away; what PostgreSQL must
get waits in `minutes` and in the watch's changes for the keeper (see keeping.py).

Where it stands is read from what it wrote: the newest second, the counters and the minutes each
carry the id of the newest sample in them. So after a kill it reads on from there, and each sample
goes exactly once into each of the three.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from performance.monitoring import alerting, figures, gauging, live, wire
from performance.monitoring.conf import conf
from performance.monitoring.merging import Merged, Merger, Window, from_rows, to_rows
from performance.monitoring.models import AlertRule
from performance.monitoring.rollups import Minute

PATIENCE = 3
"""Ticks for which late samples of a second already written are held for the next one."""
TOTALS_EVERY = 5
MINUTES_WAITING = 30
"""Finished minutes that wait for PostgreSQL; the oldest beyond is lost, and counted."""
ZERO = "0-0"


class Roller:
    """One leader's state. `tick` is called about once a second by one thread."""

    def __init__(self, watch: alerting.Watch, *, minutes_id: str = ZERO) -> None:
        self.watch = watch
        self.merger = Merger(max_series=conf().max_series)
        self.window = Window()
        self.totals = Merged()
        self.minutes: deque[Minute] = deque()
        self.sequence = 0
        self.at_s = 0
        self.lost_minutes = 0
        self.undecodable = 0
        self.cost_ms = 0.0
        self._minute: Minute | None = None
        self._ids = {"minutes": minutes_id, "seconds": ZERO, "totals": ZERO}
        self._read_id = ZERO
        self._held = 0
        self._unwritten = Merged()
        """What is still to be written as a second: more than one after the bus was away."""

    def resume(self) -> None:
        """Find where the bus's records end, and read on from the least of them."""
        last = live.last_second()
        if last is not None:
            self.sequence, self.at_s = last.sequence, last.at_s
            self._ids["seconds"] = last.last_id
        totals = live.read_totals()
        if totals is not None:
            self.totals = from_rows(totals.series, totals.counts, totals.gauges)
            self._ids["totals"] = totals.last_id
        self._read_id = min(self._ids.values(), key=live.id_key)

    def tick(self) -> int:
        """Merge what has arrived; return how many seconds that made, 0 when nothing was due.

        Raises redis.RedisError when the bus is away, and Superseded when another monitor leads.
        """
        started = time.thread_time()
        made = 0
        while True:
            entries, read_id, refused = live.read_samples(self._read_id)
            self.undecodable += refused
            if not entries:
                self._read_id = self._mended(read_id)
                break
            if not self._due(entries[-1][0]):
                break
            for group in self._groups(entries):
                made += self._roll(group)
            self._read_id = read_id
            if len(entries) < live.READ_AT_ONCE:
                break
        self.cost_ms = (time.thread_time() - started) * 1000
        return made

    def _due(self, newest_id: str) -> bool:
        """Whether the newest sample begins a second of its own; late ones are held for it."""
        if live.id_second(newest_id) > self.at_s or self._held >= PATIENCE:
            self._held = 0
            return True
        self._held += 1  # beyond patience the bus's clock went back: seconds follow by number
        return False

    def _mended(self, read_id: str) -> str:
        """Begin anew when the bus was wiped and its clock is behind what we have read."""
        newest = live.newest_sample_id()
        if newest is not None and live.id_key(newest) < live.id_key(read_id):
            self._ids = dict.fromkeys(self._ids, ZERO)
            return ZERO
        return read_id

    def _groups(self, entries: list[live.Entry]) -> Iterator[list[live.Entry]]:
        """Cut at each second, and where one of the three records ends: a group goes in whole."""
        group: list[live.Entry] = []
        ends = set(self._ids.values())
        for entry in entries:
            if group and live.id_second(entry[0]) > max(
                live.id_second(group[-1][0]), self.at_s + 1
            ):
                yield group
                group = []
            group.append(entry)
            if entry[0] in ends:
                yield group
                group = []
        if group:
            yield group

    def _roll(self, group: list[live.Entry]) -> int:
        last_id = group[-1][0]
        fresh = {name for name, end in self._ids.items() if live.id_key(last_id) > live.id_key(end)}
        stream_s = live.id_second(last_id)
        merged = self.merger.merge((sample for _, sample in group), stream_s)
        requests = [(sample.node, row) for _, sample in group for row in sample.requests]
        seen = [fault for _, sample in group for fault in sample.faults]
        self._read_id = last_id
        self.window.push(merged)
        if "minutes" in fresh:
            minute = self._minute_of(stream_s)
            minute.add(merged, requests, last_id)
            minute.add_faults(seen)
            for _, sample in group:
                minute.statements |= sample.statements
            self._ids["minutes"] = last_id
            self.watch.budgets.add(stream_s - 1, merged)
        if "totals" in fresh:
            self.totals.add(merged)
            self._ids["totals"] = last_id
        if "seconds" in fresh:
            self._write(merged, max(stream_s, self.at_s + 1), last_id)
        return int("seconds" in fresh)

    def _minute_of(self, stream_s: int) -> Minute:
        # A sample holds the second before it was sent: the one of 12:01:00 belongs to 12:00.
        begin = datetime.fromtimestamp((stream_s - 1) // 60 * 60, UTC)
        if self._minute is not None and self._minute.at != begin:
            self.minutes.append(self._minute)
            self._minute = None
            if len(self.minutes) > MINUTES_WAITING:
                self.minutes.popleft()
                self.lost_minutes += 1
        if self._minute is None:
            self._minute = Minute(begin)
        return self._minute

    def _write(self, merged: Merged, at_s: int, last_id: str) -> None:
        self.watch.look(self._reading, now_s=alerting.monotonic_s())
        self._unwritten.add(merged)
        merged = self._unwritten
        point = figures.point(merged, sequence=self.sequence + 1, at_s=at_s)
        point.processes = len(self.merger.processes)
        point.lag_ms = round(max(0.0, time.time() - live.id_key(last_id)[0] / 1000) * 1000, 1)
        point.cost_ms = round(self.cost_ms, 2)
        series, counts = to_rows(merged)
        gauges = [(*name, value) for name, value in merged.gauges.items()]
        second = wire.Second(self.sequence + 1, at_s, last_id, series, counts, gauges)
        live.write_second(second, point, self.now(point))
        self._unwritten = Merged()
        self.sequence, self.at_s = self.sequence + 1, at_s
        self._ids["seconds"] = last_id
        if self.sequence % TOTALS_EVERY == 0:
            series, counts = to_rows(self.totals)
            live.write_totals(wire.Totals(self._ids["totals"], series, counts, gauges))

    def _reading(self, rule: AlertRule) -> gauging.Reading:
        silence_s = {
            node: max(0.0, self.at_s - heard_s) for node, heard_s in self.merger.nodes.items()
        }
        if rule.metric == AlertRule.Measure.ERROR_BUDGET:
            return self.watch.budgets.reading(rule, self.at_s)
        reading = gauging.read(rule, self.window.total, self.window.span_s, silence_s)
        if rule.basis == AlertRule.Basis.WEEK:
            return self.watch.usual.reading(rule, reading, datetime.fromtimestamp(self.at_s, UTC))
        return reading

    def now(self, point: wire.Point) -> dict[str, Any]:
        """Return the newest second and the last minute's tables, as pages show them."""
        window, span_s = self.window.total, self.window.span_s
        minute = figures.point(window, sequence=point.sequence, at_s=point.at_s, span_s=span_s)
        minute.price_age_max_s = None  # a window's maximum cannot be taken back, so it is not known
        return {
            "second": point.sequence,
            "at_s": point.at_s,
            "latest": msgspec.to_builtins(point),
            "minute": msgspec.to_builtins(minute),
            "window_s": span_s,
            "endpoints": figures.endpoints(window, span_s),
            "tasks": figures.tasks(window),
            "cache": figures.cache(window),
            "processes": figures.processes(self.merger.processes.values(), point.at_s),
            "hosts": figures.hosts(self.merger.hosts.values(), point.at_s),
            "outgoing": figures.outgoing(window),
            "beat_late_p95_s": figures.beat_lateness(window),
            "alerts": self.watch.rows(now_s=alerting.monotonic_s()),
            "monitor": {
                "lag_ms": point.lag_ms,
                "cost_ms": point.cost_ms,
                "series": len(window.series),
                "folded": self.merger.admission.folded,
                "undecodable": self.undecodable,
                "resent": self.merger.refused,
                "minutes_waiting": len(self.minutes),
                "minutes_lost": self.lost_minutes,
            },
        }
