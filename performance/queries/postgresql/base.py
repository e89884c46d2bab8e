"""Django's PostgreSQL backend over connections that cannot hang; `DATABASES["…"]["ENGINE"]`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from performance.queries import pools
from performance.queries.postgresql.breaker import Breaker
from performance.queries.watchdog import GuardedConnection

_breakers: dict[str, Breaker] = {}


class DatabaseWrapper(base.DatabaseWrapper):
    # Django asks the driver's module to connect; this one is psycopg with our class in its place.
    Database: Any = SimpleNamespace(**{**vars(psycopg), "connect": GuardedConnection.connect})

    def __init__(self, settings_dict: dict[str, Any], *args: Any, **options: Any) -> None:
        pool = settings_dict.get("OPTIONS", {}).get("pool")
        if isinstance(pool, dict):
            pool.setdefault("connection_class", GuardedConnection)
        super().__init__(settings_dict, *args, **options)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.pool is None:
            return super().get_new_connection(conn_params)
        pools.watch().add(self.alias, self.pool)
        breaker = _breakers.setdefault(self.alias, Breaker())
        return breaker.connect(
            self.pool, lambda: super(DatabaseWrapper, self).get_new_connection(conn_params)
        )
