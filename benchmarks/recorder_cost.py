"""What measuring costs: CPU a request and a query, in this process, beside an empty call.

Run: python benchmarks/recorder_cost.py. Budget: 10 us a request, 1 us a query. Nothing is sent
while it counts; the cost of sending a second with 200 series is given apart.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")

import django

django.setup()

from performance.core import signals  # noqa: E402 - after setup
from performance.monitoring import http  # noqa: E402 - after setup
from performance.monitoring.conf import MonitoringConf  # noqa: E402 - after setup
from performance.monitoring.recorder import StreamRecorder  # noqa: E402 - after setup
from performance.queries import capture  # noqa: E402 - after setup

CALLS = 50_000
ROUNDS = 7


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


def main() -> None:
    bus = mock.Mock()
    recorder = StreamRecorder(node="bench", process="web", bus=lambda: bus, conf=MonitoringConf())
    recorder._stop.set()  # no thread: only the calls are measured
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
    print(f"a request: {request_us:.2f} us of CPU (budget 10)")  # noqa: T201
    print(f"a query:   {query_us:.2f} us of CPU (budget 1)")  # noqa: T201
    signals.install(recorder)
    captured_us = cost_us(lambda: capture.capture(_nothing, "SELECT 1", None, False, {}))
    print(f"a query with its capture: {captured_us - empty_us:.2f} us of CPU")  # noqa: T201
    recorder.flush()
    for number in range(200):
        recorder.observe("sql", f"q{number}", 0.001)
    started = time.process_time()
    recorder.flush()
    print(f"a second with 200 series: {(time.process_time() - started) * 1000:.2f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
