"""Minutes and hours read back as merged spans; one query each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged

OF_ENDPOINT = ("request", "sql", "memory_growth")
MINUTE_TABLE = "performance_monitoring_metricminute"
HOUR_TABLE = "performance_monitoring_metrichour"


def read(
    begin: datetime,
    end: datetime,
    *,
    hours: bool,
    endpoint: str | None = None,
    kind: str | None = None,
) -> dict[datetime, Merged]:
    """Return minutes or hours of a range as merged spans, by their beginning; one query.

    With `endpoint`, only the requests of that one are in them, and what it asked the database;
    with `kind`, only that kind.
    """
    condition = "at >= %s AND at < %s"
    values: list[Any] = [begin, end]
    if kind is not None:
        condition, values = f"{condition} AND series.kind = %s", [*values, kind]
    return _read(HOUR_TABLE if hours else MINUTE_TABLE, condition, values, endpoint)


def read_at(
    starts: list[datetime], *, hours: bool = False, endpoint: str | None = None
) -> dict[datetime, Merged]:
    """Return these minutes or hours; one query."""
    return _read(HOUR_TABLE if hours else MINUTE_TABLE, "at = ANY(%s)", [starts], endpoint)


def _read(
    table: str, condition: str, values: list[Any], endpoint: str | None
) -> dict[datetime, Merged]:
    if endpoint is not None:
        condition += (
            " AND series.key IN (%s, %s) AND series.kind IN ('request', 'sql', 'memory_growth')"
        )
        values = [*values, endpoint, endpoint.partition(" ")[2]]
    spans: dict[datetime, Merged] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT at, kind, key, status, n, total, greatest, buckets::text FROM {table} "
            "JOIN performance_monitoring_metricseries series ON series.id = series_id "
            f"WHERE {condition} ORDER BY at",
            values,
        )
        for at, kind, key, status, n, total, greatest, buckets in cursor.fetchall():
            span = spans.setdefault(at, Merged())
            if status == "count":
                span.counts[kind, key] = n
            elif status == "gauge":
                span.gauges[kind, key] = total / n
            else:
                span.series[kind, key, status] = Histogram(
                    n, total, greatest, _buckets.decode(buckets)
                )
    return spans


_buckets = msgspec.json.Decoder(dict[int, int])
