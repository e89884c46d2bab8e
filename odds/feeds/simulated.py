"""The simulated market as a source: paced by the clock, going on at its cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from odds.feeds.parsed import Skipped
from odds.feeds.simulate import TICKS_A_S, Market, changes, everything
from odds.quotes import Batch

LATEST_S = 20.0
"""A feed that slept longer than this does not live through it: it sends the market as it is now."""


class SimulatedSource:
    """`speed` 1 is real time, 10 ten times as fast; 0 does not wait at all (tests, benchmarks)."""

    name = "simulate"

    def __init__(
        self,
        *,
        seed: int = 1,
        events: int = 200,
        bookmakers: int = 12,
        changes_a_s: int = 200,
        speed: float = 1.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.wanted = {
            "seed": seed,
            "events": events,
            "bookmakers": bookmakers,
            "changes_a_s": changes_a_s,
        }
        self.speed = speed
        self.clock = clock
        self.skipped: list[Skipped] = []

    def batches(
        self, cursor: dict[str, Any] | None, wait: Callable[[float], bool]
    ) -> Iterator[Batch]:
        market, tick = self._start(cursor)
        if tick is None:
            tick = 0
            yield everything(market, tick)
        started, first = self.clock(), tick
        while True:
            tick += 1
            early_s = self._early_s(market, tick, started, first)
            if early_s > 0 and wait(early_s):
                return
            if early_s < -LATEST_S and self.speed == 1:
                before, tick = tick - 1, self._tick_now(market)
                yield everything(market, tick, since=before)
            else:
                yield changes(market, tick)

    def _early_s(self, market: Market, tick: int, started: datetime, first: int) -> float:
        """Return how many seconds there are until `tick` is due; below 0 it is overdue."""
        if not self.speed:
            return 0.0
        if self.speed == 1:
            due = market.at(tick)
        else:
            due = started + timedelta(seconds=(tick - first) / TICKS_A_S / self.speed)
        return (due - self.clock()).total_seconds()

    def _start(self, cursor: dict[str, Any] | None) -> tuple[Market, int | None]:
        """Return the market and its last tick; None for a market that begins now."""
        if cursor is None or any(cursor.get(name) != self.wanted[name] for name in self.wanted):
            return Market(epoch=self.clock().replace(microsecond=0), **self.wanted), None
        market = Market(epoch=datetime.fromisoformat(cursor["epoch"]), **self.wanted)
        return market, int(cursor["tick"])

    def _tick_now(self, market: Market) -> int:
        return int((self.clock() - market.epoch).total_seconds() * TICKS_A_S)
