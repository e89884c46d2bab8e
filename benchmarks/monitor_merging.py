"""What the monitor does with 2,000 series a second of four processes, and how true its numbers are.

Run: python -m benchmarks monitor_merging (about half a minute). Budgets: 50 ms of CPU to merge and
store such a second (the minute's COPY shared among its seconds), 20 KB a second to a page, and
quantiles within 2.2 % of the exact ones over merged processes.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Protocol

import numpy as np

PROCESSES = 4
SERIES = 500
SECONDS = 20
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
ROUTES = 50


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from performance.core import broadcast
    from performance.core.stores import bus
    from performance.monitoring import alerting, rollups
    from performance.monitoring.conf import MonitoringConf
    from performance.monitoring.recorder import StreamRecorder
    from performance.monitoring.roller import Roller
    from performance.monitoring.services import monitor

    rollups.state()
    recorders = [
        StreamRecorder(node=f"web-{n}", process="web", bus=bus, conf=MonitoringConf())
        for n in range(PROCESSES)
    ]
    for recorder in recorders:
        recorder._stop.set()  # it sends when we say so
    roller = Roller(alerting.Watch())
    costs_ms = []
    for second in range(SECONDS):
        for place, recorder in enumerate(recorders):
            _fill(recorder, place, second)
            recorder.flush()
        started = time.process_time()
        roller.sequence = 4 + second * 5 if second % 5 == 0 else roller.sequence
        roller.at_s = 0  # each tick is a second of its own, however fast they come
        roller.tick()
        costs_ms.append((time.process_time() - started) * 1000)
    minute = roller._minute
    assert minute is not None
    started = time.process_time()
    rollups.write_minute(minute, expected_id="0-0", newest=rollups.BEGINNING)
    minute_ms = (time.process_time() - started) * 1000
    merge_ms = statistics.median(costs_ms)
    report.say(
        f"- {PROCESSES * SERIES:,} series a second: {merge_ms:.1f} ms of CPU to merge and store, "
        f"and {minute_ms:.0f} ms once a minute: {merge_ms + minute_ms / 60:.1f} ms (budget 50)"
    )
    message = {"type": "page.update", "sequence": 1, "at": 1.0,
               "data": broadcast.plain(monitor.newest())}  # fmt: skip
    report.say(f"- a push of the page: {len(json.dumps(message)) / 1024:.1f} KB (budget 20)")
    _quantiles(report)


def _fill(recorder: object, place: int, second: int) -> None:
    """500 series of one process, half of them its own: 2,000 different ones over four."""
    draw = random.Random(place * 1000 + second)
    for number in range(ROUTES):
        for _ in range(20):
            recorder.request(f"GET page/{number}/", 200, draw.lognormvariate(-4, 1))  # type: ignore[attr-defined]
    for number in range(SERIES - ROUTES):
        recorder.observe("sql", f"p{place}-{number}", draw.lognormvariate(-6, 1))  # type: ignore[attr-defined]


def _quantiles(report: Report) -> None:
    """Latencies of real work, noted twice: one by one, and by four processes' histograms."""
    from performance.monitoring.histogram import Histogram

    exact: list[float] = []
    parts = [Histogram() for _ in range(PROCESSES)]
    draw = random.Random(7)
    for number in range(40_000):
        size = int(draw.lognormvariate(3.5, 1.2))
        started = time.perf_counter()
        json.dumps(list(range(size)))
        seconds = time.perf_counter() - started
        exact.append(seconds)
        parts[number % PROCESSES].add(seconds)
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    values = np.sort(np.array(exact))
    worst = 0.0
    for share, found in zip(QUANTILES, whole.percentiles(QUANTILES), strict=True):
        true = float(values[max(0, int(np.ceil(share * len(values))) - 1)])
        assert found is not None
        worst = max(worst, abs(found / true - 1))
    report.say(
        f"- quantiles of {len(exact):,} recorded latencies, merged over {PROCESSES} processes: "
        f"off by {worst:.2%} at most (budget 2.2 %)"
    )
