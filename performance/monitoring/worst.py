"""The requests of one second that are worth keeping: the slowest of each route and the failed.

Exceptions are beside them, grouped with their like. All of it is bounded; what is over is dropped.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from performance.core import asked
from performance.monitoring import clock, faults, wire

SLOWEST_A_ROUTE = 3
ERRORS_A_SECOND = 20
REQUESTS_A_SECOND = 100
FAULTS_A_SECOND = 20
STATEMENTS_A_REQUEST = 8
LONGEST_SQL = 4_000
"""Characters of a statement that are kept."""


class Kept(NamedTuple):
    """A request, and what it asked: which is looked at when it is sent, and not in the request."""

    row: wire.SlowRequest
    asked: asked.Asked | None


class Worst:
    """Filled by the threads that serve, emptied once a second by the one that sends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slow: dict[str, list[Kept]] = {}
        self._failed: list[Kept] = []
        self._faults: dict[str, wire.Fault] = {}

    def failed(self, label: str, status: int, seconds: float, spent: clock.Clock) -> None:
        if len(self._failed) < ERRORS_A_SECOND:
            self._failed.append(_kept(label, status, seconds, spent))

    def slow(self, label: str, status: int, seconds: float, spent: clock.Clock) -> None:
        """Keep it when it is among the slowest three of its route in this second."""
        with self._lock:
            kept = self._slow.setdefault(label, [])
            if len(kept) < SLOWEST_A_ROUTE:
                kept.append(_kept(label, status, seconds, spent))
                return
            fastest = min(range(len(kept)), key=lambda place: kept[place].row.duration_ms)
            if kept[fastest].row.duration_ms < seconds * 1000:
                kept[fastest] = _kept(label, status, seconds, spent)

    def fault(self, error: BaseException, endpoint: str) -> bool:
        """Note an exception; False when there are too many different ones in this second."""
        found = faults.describe(error, endpoint)
        with self._lock:
            known = self._faults.get(found.fingerprint)
            if known is not None:
                found.times += known.times
            elif len(self._faults) >= FAULTS_A_SECOND:
                return False
            self._faults[found.fingerprint] = found
        return True

    def take(self) -> tuple[list[wire.SlowRequest], dict[str, str], list[wire.Fault]]:
        """Return and forget the requests, the text of what they asked, and the exceptions."""
        with self._lock:
            slow, self._slow = self._slow, {}
            failed, self._failed = self._failed, []
            faulty, self._faults = self._faults, {}
        slowest = sorted(
            (one for kept in slow.values() for one in kept), key=lambda one: -one.row.duration_ms
        )
        kept = failed + slowest[: REQUESTS_A_SECOND - len(failed)]
        texts: dict[str, str] = {}
        for one in kept:
            if one.asked is None:
                continue
            for statement in one.asked.costliest(STATEMENTS_A_REQUEST):
                texts[statement.fingerprint] = statement.sql[:LONGEST_SQL]
                ms = round(statement.seconds * 1000, 3)
                one.row.statements.append((statement.fingerprint, statement.times, ms))
        return [one.row for one in kept], texts, list(faulty.values())


def _kept(label: str, status: int, seconds: float, spent: clock.Clock) -> Kept:
    user_id, session = clock.who(spent.request)
    row = wire.SlowRequest(
        route=label,
        status=status,
        duration_ms=round(seconds * 1000, 3),
        sql_ms=round(spent.sql_s * 1000, 3),
        sql_count=spent.sql_count,
        cache_ms=round(spent.cache_s * 1000, 3),
        user_id=user_id,
        session_hash=session,
        error=type(spent.error).__name__ if spent.error is not None else "",
        http_ms=round(spent.http_s * 1000, 3),
        render_ms=round(spent.render_s * 1000, 3),
    )
    return Kept(row, asked.of(spent.request))
