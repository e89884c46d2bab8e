"""What PostgreSQL itself counted: pg_stat_statements by differences, never reset by us."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction
from django.db.utils import ProgrammingError
from django.utils import timezone

from performance.queries.conf import conf
from performance.queries.errors import StatisticsMissing
from performance.queries.fingerprint import ROUTE_COMMENT, shape
from performance.queries.models import QueryMinute, QueryShape

SORTS = {
    "total": "total_exec_time",
    "mean": "mean_exec_time",
    "calls": "calls",
    "variable": "stddev_exec_time / nullif(mean_exec_time, 0)",
}
"""What `--sort` may say, and the expression behind it; nothing else reaches the SQL."""
_COLUMNS = """queryid, query, calls, total_exec_time, mean_exec_time, stddev_exec_time,
    max_exec_time, rows, shared_blks_hit::float8 / nullif(shared_blks_hit + shared_blks_read, 0)"""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of this database since the server's statistics began. Times in ms."""

    query_id: int
    sql: str
    route: str
    calls: int
    total_ms: float
    mean_ms: float
    stddev_ms: float
    max_ms: float
    rows: int
    hit_ratio: float | None
    """Blocks found in the server's buffers, 0 to 1; None when none was touched."""

    def as_dict(self) -> dict[str, Any]:
        """`key` is the query id as text: JavaScript's numbers cannot hold all 64 bits."""
        return {**asdict(self), "query_id": str(self.query_id), "key": str(self.query_id)}


def ensure_extension() -> None:
    """Create pg_stat_statements where our role may; StatisticsMissing says what is needed else."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('shared_preload_libraries')")
        if "pg_stat_statements" not in cursor.fetchone()[0]:
            raise StatisticsMissing(
                "The server does not load pg_stat_statements.",
                "Add it to shared_preload_libraries and restart PostgreSQL.",
            )
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'")
        if cursor.fetchone():
            return
        try:
            with transaction.atomic():
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        except ProgrammingError as error:
            raise StatisticsMissing(
                f"The extension pg_stat_statements is not there and our role may not make it "
                f"({error}).",
                "Let an administrator run: CREATE EXTENSION pg_stat_statements.",
            ) from error


def statements(
    *, sort: str = "total", limit: int = 20, min_calls: int = 1, min_mean_ms: float = 0
) -> list[Statement]:
    """Return the server's top statements of this database; one query. StatisticsMissing says why
    there are none."""
    if sort not in SORTS:
        raise ValueError(f"sort is {sort!r}; it must be one of: {', '.join(SORTS)}.")
    ensure_extension()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM pg_stat_statements
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND queryid IS NOT NULL AND calls >= %s AND mean_exec_time >= %s
            ORDER BY {SORTS[sort]} DESC NULLS LAST LIMIT %s
            """,
            [min_calls, min_mean_ms, limit],
        )
        return [_statement(row) for row in cursor.fetchall()]


CACHED_S = 5
"""The lifetime of the family that `repeated` reckons with."""
MOST_ROWS = 5
"""A call that returns more is a report, and seldom asked twice alike."""


def repeated(found: list[Statement], over_s: float) -> list[dict[str, Any]]:
    """Return the reads among `found` that a cached family would spare, with the share it saves.

    Pure. Of n calls in `over_s` seconds a family of five seconds lets at most one through each
    five seconds: 1 - over_s / 5 / n, when the parameters repeat. Statements without a route of a
    page, those that return many rows and those asked less than once a second are left out.
    """
    advised = []
    for one in found:
        page = "/" in one.route and not one.route.startswith("admin/")
        if not page or not one.sql.lower().startswith(("select", "with")):
            continue
        if one.calls < over_s or one.rows > MOST_ROWS * one.calls:
            continue
        saved = 1 - over_s / CACHED_S / one.calls
        advised.append({**one.as_dict(), "saved_ratio": round(saved, 3)})
    return sorted(advised, key=lambda row: row["total_ms"] * row["saved_ratio"], reverse=True)


def hidden_from_us() -> str:
    """Return a sentence when our role sees only its own statements, and "" when it sees all."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE'), current_user")
        sees_all, role = cursor.fetchone()
    if sees_all:
        return ""
    return (
        "Only the statements of our own role are shown. To see all, let an administrator run: "
        f"GRANT pg_monitor TO {role}."
    )


def counted_for_s() -> float:
    """Return for how many seconds the server's statistics have been counting; at least 1."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT greatest(1, extract(epoch FROM now() - stats_reset))::float8 "
            "FROM pg_stat_statements_info"
        )
        seconds: float = cursor.fetchone()[0]
    return seconds


def one(query_id: int) -> Statement | None:
    """Return one statement of this database by the server's id; StatisticsMissing says why not."""
    ensure_extension()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM pg_stat_statements WHERE queryid = %s AND dbid = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()) "
            "ORDER BY calls DESC LIMIT 1",
            [query_id],
        )
        row = cursor.fetchone()
    return _statement(row) if row else None


def _statement(row: tuple[Any, ...]) -> Statement:
    query_id, sql, *numbers = row
    comment = ROUTE_COMMENT.search(sql)
    route = comment.group().split("'")[1] if comment else ""
    return Statement(query_id, ROUTE_COMMENT.sub("", sql).strip(), route, *numbers)


def take_sample() -> int:
    """Keep what each top statement cost since the last look; return how many were kept.

    Run each minute. A smaller total than before means that somebody reset the statistics: then
    the whole is new. Two at once: the second waits for the first's rows and finds no difference.
    """
    minute = timezone.now().replace(second=0, microsecond=0)
    kept = 0
    with transaction.atomic():
        known = {
            shape_.query_id: shape_
            for shape_ in QueryShape.objects.select_for_update().order_by("pk")
        }
        for one in statements(limit=conf().top_statements):
            shape_ = known.get(one.query_id)
            if shape_ is None:
                shape_ = QueryShape.objects.create(query_id=one.query_id, sql=shape(one.sql))
            reset = one.calls < shape_.calls
            calls = one.calls - (0 if reset else shape_.calls)
            if not calls:
                continue
            row, _ = QueryMinute.objects.get_or_create(
                shape=shape_, minute=minute, defaults={"calls": 0, "total_ms": 0, "rows": 0}
            )
            row.calls += calls
            row.total_ms += one.total_ms - (0 if reset else shape_.total_ms)
            row.rows += one.rows - (0 if reset else shape_.rows)
            row.save()
            shape_.calls, shape_.total_ms, shape_.rows = one.calls, one.total_ms, one.rows
            shape_.save()
            kept += 1
    return kept


def prune_history() -> int:
    """Delete the history beyond `history_days`; return how many rows went."""
    before = timezone.now() - datetime.timedelta(days=conf().history_days)
    return QueryMinute.objects.filter(minute__lt=before).delete()[0]
