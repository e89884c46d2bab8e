"""No thread waits for ever: every wait on PostgreSQL has an end that we, not the server, keep.

`statement_timeout` runs inside the server, so a paused or wedged one never fires it, and the
kernel goes on acknowledging TCP: a thread would hang until somebody wakes the server. All of
psycopg's blocking waits (queries, COMMIT, COPY, the pool's check) pass one method, bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors

INTERVAL_S = 0.1
"""psycopg's own: how often a wait looks up, so that Ctrl-C is heard."""
GRACE_S = 0.5
"""How much longer than `statement_timeout` we wait: a server that is well ends the query itself."""


class ServerSilent(psycopg.OperationalError):
    """PostgreSQL neither answered nor ended a statement in time; the connection was dropped."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"PostgreSQL did not answer within {limit_s:g} s and did not end the statement itself, "
            "so the connection was dropped; whether a COMMIT in flight took place is unknown. "
            "Is the server paused or its disk stuck? The limit is QUERY_LIMIT_MS."
        )


class GuardedConnection(psycopg.Connection[Any]):
    """A connection whose every wait ends after `limit_s`; None waits for ever."""

    limit_s: float | None = None

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> GuardedConnection:
        connection = super().connect(*args, **kwargs)
        assert isinstance(connection, GuardedConnection)
        connection.limit_s = default_limit_s()
        return connection

    def wait(self, gen: Any, interval: float = INTERVAL_S, timeout: float | None = None) -> Any:
        if timeout is not None or self.limit_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise ServerSilent(self.limit_s) from None


def default_limit_s() -> float | None:
    """Return QUERY_LIMIT_MS with its grace, in seconds; None where it is 0."""
    limit_ms: int = settings.QUERY_LIMIT_MS
    return limit_ms / 1000 + GRACE_S if limit_ms else None


@contextmanager
def longer(connection: BaseDatabaseWrapper, limit_ms: int) -> Iterator[None]:
    """Let the statements of one transaction run up to `limit_ms`, such as a bulk import's merge.

    Call it inside `transaction.atomic()`: the server's own limit ends with the transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {int(limit_ms)}")
    guarded = connection.connection
    before = guarded.limit_s
    guarded.limit_s = limit_ms / 1000 + GRACE_S
    try:
        yield
    finally:
        guarded.limit_s = before
