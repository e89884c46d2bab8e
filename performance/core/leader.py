"""One leader among processes that all could lead: a PostgreSQL advisory lock and a fencing token.

PostgreSQL and not Redis holds the lock, because a lock that vanishes with a wiped cache would
make two leaders. The lock lives as long as its connection: a killed leader frees it at once.
"""

from __future__ import annotations

import zlib
from types import TracebackType

import psycopg
from django.db import connections

CONNECT_TIMEOUT_S = 2


class Leadership:
    """Try to lead under `name`; `with` gives the lock back.

    `acquire` never waits. `token` grows with each new leader, on all machines: whatever a leader
    writes to a shared place carries it, so that one who slept through his lock's loss is refused.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.token: int | None = None
        self._connection: psycopg.Connection | None = None
        self._key = zlib.crc32(f"protipp.leader.{name}".encode())

    def acquire(self) -> bool:
        """Return True when this process leads now; psycopg.OperationalError without a server."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        row = self._connection.execute(
            "select pg_try_advisory_lock(%s), pg_current_xact_id()::text::bigint", [self._key]
        ).fetchone()
        assert row is not None
        won: bool = row[0]
        self.token = row[1] if won else None
        return won

    def still_holds(self) -> bool:
        """Return False once the connection that holds the lock is gone; costs one round trip."""
        if self.token is None or self._connection is None or self._connection.closed:
            return False
        try:
            self._connection.execute("select 1")
        except psycopg.OperationalError:
            self.release()
            return False
        return True

    def release(self) -> None:
        self.token = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _connect() -> psycopg.Connection:
        parameters = connections["default"].get_connection_params()
        known = {
            name: parameters[name]
            for name in ("dbname", "user", "password", "host", "port")
            if parameters.get(name)
        }
        return psycopg.connect(
            **known,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="protipp leader",
            tcp_user_timeout=2000,
        )

    def __enter__(self) -> Leadership:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
