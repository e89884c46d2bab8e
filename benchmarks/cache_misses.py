"""What the layer adds to a miss: a board computed with the cache on, and with it switched off.

Alternating in one run. The loader itself is timed in both, so that what is compared is the layer's
own share: the loader reads the list of sports through the cache as well, which costs it a query
when the cache is off, and PostgreSQL takes now longer and now shorter. Time is what a visitor
waits; processor time is of the thread that asks alone. Before each read the board's tag is
invalidated, outside of both.
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


class Timed:
    """A loader, and what its last run took in milliseconds: of time, of processor time."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.last_ms = (0.0, 0.0)

    def __call__(self, *arguments: Any) -> Any:
        began = _clocks()
        value = self._loader(*arguments)
        self.last_ms = _since(began)
        return value


def run(report: Report) -> None:
    from django.test import override_settings

    from odds import families
    from performance.caching.services import cache

    cached_board.fill(events=cached_board.EVENTS, bookmakers=cached_board.BOOKMAKERS)
    cache.purge()
    off = override_settings(PERFORMANCE={"CACHING": {"enabled": False}})
    loader = families.odds.loader
    families.odds.loader = timed = Timed(loader)
    whole: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    own: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    try:
        for _ in range(ROUNDS):
            for name, state in (("on", nullcontext()), ("off", off)):
                cache.invalidate(f"sport:{cached_board.SPORT}")
                time.sleep(0.005)  # the push of it arrives
                with state:
                    families.odds.find(*ARGUMENTS)  # the settings are read again, not timed
                    if name == "on":
                        cache.invalidate(f"sport:{cached_board.SPORT}")
                        time.sleep(0.005)
                    began = _clocks()
                    families.odds.find(*ARGUMENTS)
                    took = _since(began)
                whole[name].append(took)
                own[name].append((took[0] - timed.last_ms[0], took[1] - timed.last_ms[1]))
    finally:
        families.odds.loader = loader
    _tell(report, whole, own)


def _tell(
    report: Report,
    whole: dict[str, list[tuple[float, float]]],
    own: dict[str, list[tuple[float, float]]],
) -> None:
    report.say(f"A board of {cached_board.EVENTS} events computed, p50 of {ROUNDS - WARM}:")
    for what, index in (("time", 0), ("processor time here", 1)):
        on, without = (_median(own[name], index) for name in ("on", "off"))
        total = _median(whole["off"], index)
        report.say(
            f"- {what}: {total:.2f} ms switched off, of which {without:.2f} ms are spent outside "
            f"the loader (encoding the answer); {on:.2f} ms with the cache on: "
            f"{(on - without) / total:+.1%} of the whole"
        )
    report.say(f"- wanted: at most {WANTED_SHARE:+.0%} of time")


def _median(times: list[tuple[float, float]], index: int) -> float:
    return statistics.median(one[index] for one in times[WARM:])


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    return (time.perf_counter() - began[0]) * 1000, (time.thread_time() - began[1]) * 1000
