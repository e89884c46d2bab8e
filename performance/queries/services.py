"""The door of the queries room: what the database is asked, and what would make it faster."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import psutil
from django.db import connection, transaction

from performance.queries import (
    activity,
    advisor,
    capture,
    explaining,
    index_migrations,
    indexes,
    looking,
    plans_kept,
    pools,
    replicas,
    router,
    sizes,
    statistics,
    tuning,
    upkeep,
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

    def look(self, *, plan: str = "", query: str = "") -> dict[str, Any]:
        """Return one statement's or one kept plan's tree, history and callers."""
        return looking.look(plan=plan, query=query)

    def analyze(self, sql: str) -> str:
        """Run one SELECT under EXPLAIN ANALYZE; return the name of the plan, kept for an hour.

        CannotExplain says what may not be run.
        """
        return plans_kept.keep_plan(sql, explaining.analyze(sql))

    def upkeep(self) -> dict[str, Any]:
        """Return what the database page shows; about a dozen catalogue queries."""
        local = connection.settings_dict["HOST"].startswith("/")
        memory_bytes = psutil.virtual_memory().total if local else None
        watch = replicas.watch()
        health = watch.health.values() if watch else ()
        return {
            **upkeep.blocks(),
            "sizes": sizes.growth(),
            "settings": [one.as_dict() for one in tuning.settings(memory_bytes)],
            "replicas": [asdict(one) for one in health],
            "advice": plans_kept.kept_advice(),
        }

    def cancel(self, pid: int, backend_start: datetime) -> None:
        activity.cancel(pid, backend_start)

    def terminate(self, pid: int, backend_start: datetime) -> None:
        activity.terminate(pid, backend_start)

    def overview(self) -> dict[str, Any]:
        """Return what the queries page shows; about ten catalogue queries, under one snapshot."""
        with transaction.atomic():
            try:
                found = statistics.statements(limit=25)
                costliest = [one.as_dict() for one in found]
                repeated = statistics.repeated(found, statistics.counted_for_s())
                missing = statistics.hidden_from_us()
            except StatisticsMissing as error:
                costliest, repeated, missing = [], [], str(error)
            running, connections = activity.running(), activity.connections()
            return {
                "statements": costliest,
                "repeated": repeated,
                "statistics_missing": missing,
                "running": running,
                "blocked": sum(1 for row in running if row["blocked_by"]),
                "locks": activity.lock_tree(running),
                "connections": connections,
                "pools": (waits := pools.reported()),
                "pool_waiting": sum(one["waiting"] for one in waits),
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


def take_sizes() -> int:
    """Write down how large each table is today; return how many there are."""
    return sizes.take()


def advise_for_the_page() -> int:
    """Prove what indexes are missing and keep the advice; return how many. Takes up to minutes."""
    advices = [advice.as_dict() for advice in optimizer.advise()]
    plans_kept.keep_advice(advices)
    return len(advices)


def prune_history() -> int:
    return statistics.prune_history()
