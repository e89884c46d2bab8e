"""What measuring costs: CPU a request and a query, in this process, beside an empty call.

Run: python -m benchmarks recorder_cost. Budget: 10 us a request, 1 us a query. Nothing is sent
while it counts; the cost of sending a second with 200 series is given apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol
from unittest import mock

CALLS = 50_000
ROUNDS = 7


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def cost_us(act: Callable[[], object]) -> float:
    """Return the best round's CPU a call, in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            act()
        rounds.append((time.process_time() - started) / CALLS * 1e6)
    return min(rounds)


def _nothing(*args: object) -> None:
    pass


def run(report: Report) -> None:
    from performance.core import signals
    from performance.monitoring import http
    from performance.monitoring.conf import MonitoringConf
    from performance.monitoring.recorder import StreamRecorder
    from performance.queries import capture

    bus = mock.Mock()
    recorder = StreamRecorder(node="bench", process="web", bus=lambda: bus, conf=MonitoringConf())
    recorder._stop.set()  # no thread: only the calls are measured
    recorder._watches_growth = False  # as in a process whose memory has not grown for a minute
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}

    def application(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    def start(*args: object) -> None:
        pass

    monitored = http.wsgi_monitor(application, recorder)
    bare_us = cost_us(lambda: application(environ, start))
    request_us = cost_us(lambda: monitored(environ, start)) - bare_us
    empty_us = cost_us(lambda: None)
    query_us = cost_us(lambda: recorder.observe("sql", "board", 0.0012)) - empty_us
    report.say(f"- a request: {request_us:.2f} us of CPU (budget 10)")
    report.say(f"- a query:   {query_us:.2f} us of CPU (budget 1)")
    signals.install(recorder)
    captured_us = cost_us(lambda: capture.capture(_nothing, "SELECT 1", None, False, {}))
    report.say(f"- a query with its capture: {captured_us - empty_us:.2f} us of CPU")
    recorder.flush()
    for number in range(200):
        recorder.observe("sql", f"q{number}", 0.001)
    started = time.process_time()
    recorder.flush()
    report.say(f"- a second with 200 series: {(time.process_time() - started) * 1000:.2f} ms")
