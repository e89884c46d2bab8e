"""While PostgreSQL is away one thread a second asks; the others hear so at once.

Without it every request that needs the server waits for the pool's whole timeout, and a few of
them hold all threads of a node, those too that would give a cached answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

ASK_AGAIN_S = 1.0
SIGNS = ("connections_errors", "connections_lost", "returns_bad")
"""What a pool counts when the server fails it, and not when it is only busy."""


class PostgresAway(psycopg.OperationalError):
    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL (DATABASE_URL) does not answer; this was known for less than "
            f"{ASK_AGAIN_S:g} s, so it was not asked again."
        )


class Breaker:
    """One for each pool. Closed it costs about 2 us a connection."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ask_at: float | None = None
        self._well = (0,) * len(SIGNS)  # when the pool last gave a connection

    def connect(self, pool: Any, getconn: Callable[[], Any]) -> Any:
        """Return `getconn()`, or raise PostgresAway without waiting."""
        if self._ask_at is not None:
            self._ask_or_refuse(pool)
        try:
            connection = getconn()
        except PoolTimeout:
            if _signs(pool) != self._well:
                self._ask_at = self._clock() + ASK_AGAIN_S
            raise
        self._ask_at, self._well = None, _signs(pool)
        return connection

    def _ask_or_refuse(self, pool: Any) -> None:
        with self._lock:
            now = self._clock()
            if self._ask_at is None or pool.get_stats()["pool_available"]:
                return  # the pool's own threads have reached the server again
            if now < self._ask_at:
                raise PostgresAway
            self._ask_at = now + ASK_AGAIN_S  # ours is the question of this second


def _signs(pool: Any) -> tuple[int, ...]:
    stats = pool.get_stats()
    return tuple(stats.get(sign, 0) for sign in SIGNS)
