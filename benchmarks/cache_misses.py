"""What the layer adds to a miss: a board computed with the cache on, and with it switched off.

Alternating in one run. Time is what a visitor waits, PostgreSQL's work in it; processor time is of
the thread that asks alone. Before each read the board's tag is invalidated, outside of both.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext
from typing import Any, Protocol

from benchmarks import cached_board

ROUNDS, WARM = 60, 5
WANTED_SHARE = 0.05
ARGUMENTS: tuple[Any, ...] = (
    *(cached_board.SPORT, ("h2h",), (), "decimal", "iso"),
    *(None, None, None, 500),
)


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from django.test import override_settings

    from odds import families
    from performance.caching.services import cache

    cached_board.fill(events=cached_board.EVENTS, bookmakers=cached_board.BOOKMAKERS)
    cache.purge()
    off = override_settings(PERFORMANCE={"CACHING": {"enabled": False}})
    seen: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for _ in range(ROUNDS):
        for name, state in (("on", nullcontext()), ("off", off)):
            cache.invalidate(f"sport:{cached_board.SPORT}")
            time.sleep(0.005)  # the push of it arrives
            with state:
                seen[name].append(_times_ms(families.odds))
    report.say(f"A board of {cached_board.EVENTS} events computed, p50 of {ROUNDS - WARM}:")
    for what, index in (("time", 0), ("processor time here", 1)):
        on, without = (
            statistics.median(times[index] for times in seen[name][WARM:]) for name in seen
        )
        report.say(
            f"- {what}: {on:.2f} ms with the cache on, {without:.2f} ms switched off "
            f"({on / without - 1:+.1%})"
        )
    report.say(f"- wanted: at most {WANTED_SHARE:+.0%} of time")


def _times_ms(family: Any) -> tuple[float, float]:
    began = time.perf_counter(), time.thread_time()
    family.find(*ARGUMENTS)
    return (time.perf_counter() - began[0]) * 1000, (time.thread_time() - began[1]) * 1000
