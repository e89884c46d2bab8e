"""What an endpoint asks of the database, by those of its requests that were kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from performance.monitoring import wire
from performance.monitoring.models import SampleStatement

SHOWN = 20

_STORE = """
INSERT INTO performance_monitoring_samplestatement AS known (fingerprint, sql, seen_on)
SELECT fingerprint, sql, %s FROM unnest(%s::varchar[], %s::text[]) AS fresh (fingerprint, sql)
ON CONFLICT (fingerprint) DO UPDATE SET seen_on = excluded.seen_on
WHERE known.seen_on < excluded.seen_on
"""
_COSTLIEST = """
WITH asked AS (
    SELECT one->>0 AS fingerprint, (one->>1)::int AS times, (one->>2)::float8 AS ms
    FROM performance_monitoring_requestsample, jsonb_array_elements(statements) AS one
    WHERE at >= %s AND at < %s AND route = %s
)
SELECT fingerprint, sql, count(*), sum(times)::float8 / count(*), sum(ms), max(ms)
FROM asked JOIN performance_monitoring_samplestatement USING (fingerprint)
GROUP BY fingerprint, sql ORDER BY sum(ms) DESC LIMIT %s
"""


def store(texts: dict[str, str], requests: Iterable[wire.SlowRequest], on: date) -> None:
    """Keep the text of what these requests asked, once for all that ask it; one query or none."""
    asked = {name for row in requests for name, _, _ in row.statements}
    wanted = {name: texts[name] for name in sorted(asked & texts.keys())}
    if wanted:
        with connection.cursor() as cursor:
            cursor.execute(_STORE, [on, list(wanted), list(wanted.values())])


def of_endpoint(
    begin: datetime, end: datetime, endpoint: str, sql_ms: float
) -> list[dict[str, Any]]:
    """Return the costliest statements of the kept requests of an endpoint; one query.

    `sql_ms` is what all statements of these requests took: of it each has its share.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COSTLIEST, [begin, end, endpoint, SHOWN])
        rows = cursor.fetchall()
    return [
        {
            "fingerprint": fingerprint,
            "sql": sql,
            "requests": requests,
            "times": round(times, 1),
            "mean_ms": round(total_ms / requests, 3),
            "greatest_ms": greatest_ms,
            "share": round(min(total_ms / sql_ms, 1.0), 4) if sql_ms else 0.0,
        }
        for fingerprint, sql, requests, times, total_ms, greatest_ms in rows
    ]


def forget_before(day: date) -> int:
    """Delete the text of statements that no kept request can have; return how many."""
    return SampleStatement.objects.filter(seen_on__lt=day - timedelta(days=1)).delete()[0]
