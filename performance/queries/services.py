"""The door of the queries room: what the database is asked, and what would make it faster."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from performance.queries import (
    activity,
    advisor,
    capture,
    index_migrations,
    indexes,
    router,
    statistics,
    watchdog,
)
from performance.queries.errors import StatisticsMissing

longer = watchdog.longer
"""`with longer(connection, limit_ms)`: a transaction whose statements may take more time."""
on_replica = router.on_replica
"""`on_replica(read)` runs `read(connection)` where it costs the primary nothing, if it can."""
note_write = router.note_write
SORTS = tuple(statistics.SORTS)
Advice = advisor.Advice


class QueryOptimizer:
    """Statistics of statements, running ones, index advice; every number is the server's own."""

    def slowest(self, **filters: Any) -> list[statistics.Statement]:
        """Return top statements: `sort`, `limit`, `min_calls`, `min_mean_ms`; StatisticsMissing."""
        return statistics.statements(**filters)

    def advise(self, limit: int = 50) -> list[advisor.Advice]:
        """Return the indexes that were proved on the `limit` costliest statements."""
        return advisor.advise(limit)

    def migration(self, app_label: str, advices: list[advisor.Advice]) -> str | None:
        return index_migrations.migration_text(app_label, advices)

    def cancel(self, pid: int, backend_start: datetime) -> None:
        activity.cancel(pid, backend_start)

    def terminate(self, pid: int, backend_start: datetime) -> None:
        activity.terminate(pid, backend_start)

    def overview(self) -> dict[str, Any]:
        """Return what the queries page shows; about ten catalogue queries, under one snapshot."""
        with transaction.atomic():
            try:
                costliest = [one.as_dict() for one in statistics.statements(limit=25)]
                missing = ""
            except StatisticsMissing as error:
                costliest, missing = [], str(error)
            running, connections = activity.running(), activity.connections()
            return {
                "statements": costliest,
                "statistics_missing": missing,
                "running": running,
                "blocked": sum(1 for row in running if row["blocked_by"]),
                "locks": activity.lock_tree(running),
                "connections": connections,
                "connection_count": sum(row["connections"] for row in connections),
                "n_plus_ones": capture.findings(capture.FINDINGS_KEY),
                "slow": capture.findings(capture.SLOW_KEY)[:25],
                "unused_indexes": indexes.unused(),
                "duplicate_indexes": indexes.duplicate(),
                "invalid_indexes": indexes.invalid(),
                "tables": indexes.tables(),
            }


optimizer = QueryOptimizer()


def take_sample() -> int:
    """Add one minute to each statement's history; return how many statements had calls."""
    return statistics.take_sample()


def prune_history() -> int:
    return statistics.prune_history()
