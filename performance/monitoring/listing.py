"""`PerformanceMetric`, page by page: minutes of endpoints, or single requests of somebody.

Newest first, by keyset: a page costs the same wherever it lies, and nothing that comes meanwhile
shifts it.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from performance.monitoring import reads, rollups
from performance.monitoring.errors import BadInput
from performance.monitoring.histogram import Histogram
from performance.monitoring.inputs import MetricFilters
from performance.monitoring.merging import Merged
from performance.monitoring.models import RequestSample

DEFAULT_SPAN = timedelta(hours=1)
MINUTES_A_READ = 15
READS_A_PAGE = 16
"""A page looks at four hours of minutes at most; then it may be short, but has a cursor."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
UNITS = {
    "response_time": "ms",
    "throughput": "requests/s",
    "error_rate": "ratio",
    "memory_usage": "bytes",
}
_NAMES = uuid.UUID("6f1d7f3e-9c53-4b0e-8a2f-0d6a5c1f7b21")

Row = dict[str, Any]
Place = tuple[str, str]
"""What orders rows of one minute: metric type and endpoint."""


def page(filters: MetricFilters, now: datetime) -> tuple[list[Row], str | None]:
    """Return rows and the next page's cursor; None when there are no more. Raises BadInput."""
    end = filters.to or now
    begin = filters.from_ or end - DEFAULT_SPAN
    if begin >= end:
        raise BadInput("from", begin.isoformat(), f"before `to`, which is {end.isoformat()}")
    if filters.user_id is not None or filters.session_id is not None:
        return _of_somebody(filters, begin, end)
    return _of_minutes(filters, begin, end)


# --- minutes ----------------------------------------------------------------------------------


def _of_minutes(
    filters: MetricFilters, begin: datetime, end: datetime
) -> tuple[list[Row], str | None]:
    after: tuple[datetime, Place] | None = None
    if filters.cursor is not None:
        at_s, kind, endpoint = _open(filters.cursor, (int, str, str))
        after = (datetime.fromtimestamp(at_s, UTC), (kind, endpoint))
        end = min(end, after[0] + rollups.MINUTE)
    rows: list[Row] = []
    for _ in range(READS_A_PAGE):
        minutes = _minutes_before(end, begin)
        if not minutes:
            return rows, None
        spans = reads.read_at(minutes, endpoint=filters.endpoint)
        for at in minutes:
            for place, row in sorted(_rows(filters, at, spans.get(at, Merged()))):
                if after is not None and at == after[0] and place <= after[1]:
                    continue
                if len(rows) == filters.limit:
                    return rows, _cursor_of(rows[-1])
                rows.append(row)
        end = minutes[-1]
    at_s = int(end.timestamp())
    # Everything of `end` has been given: its last place sorts after every real one.
    return rows, _close(at_s, "\uffff", "")


def _minutes_before(end: datetime, begin: datetime) -> list[datetime]:
    """Return the newest minutes that hold anything, one index look-up each."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE minute (at, place) AS (
                (SELECT at, 1 FROM performance_monitoring_metricminute
                 WHERE at < %(end)s AND at >= %(begin)s ORDER BY at DESC LIMIT 1)
                UNION ALL
                (SELECT older.at, minute.place + 1 FROM minute, LATERAL (
                    SELECT at FROM performance_monitoring_metricminute
                    WHERE at < minute.at AND at >= %(begin)s ORDER BY at DESC LIMIT 1
                 ) older WHERE minute.place < %(limit)s)
            ) SELECT at FROM minute
            """,
            {"end": end, "begin": begin, "limit": MINUTES_A_READ},
        )
        return [at for (at,) in cursor.fetchall()]


def _rows(filters: MetricFilters, at: datetime, span: Merged) -> Iterator[tuple[Place, Row]]:
    wanted = filters.metric_type
    routes: dict[str, list[Any]] = {}
    for (kind, key, status), histogram in span.series.items():
        if kind == "request":
            whole, errors = routes.setdefault(key, [Histogram(), 0])
            whole.merge(histogram)
            routes[key][1] = errors + (histogram.n if status == "5xx" else 0)
    for endpoint, (whole, errors) in routes.items():
        share = QUANTILES.get(filters.aggregate)
        seconds = whole.mean_s if share is None else whole.percentile(share)
        values = {
            "response_time": None if seconds is None else round(seconds * 1000, 3),
            "throughput": round(whole.n / 60, 4),
            "error_rate": round(errors / whole.n, 5),
        }
        for metric_type, value in values.items():
            if wanted in (None, metric_type) and value is not None:
                yield (metric_type, endpoint), _row(metric_type, value, at, endpoint)
    memory = [value for (kind, _), value in span.gauges.items() if kind == "memory"]
    if memory and wanted in (None, "memory_usage") and filters.endpoint is None:
        yield ("memory_usage", ""), _row("memory_usage", int(sum(memory)), at, None)


def _row(metric_type: str, value: float, at: datetime, endpoint: str | None) -> Row:
    name = f"{metric_type} {endpoint} {at.timestamp():.0f}"
    return {
        "id": str(uuid.uuid5(_NAMES, name)),
        "metric_type": metric_type,
        "value": value,
        "unit": UNITS[metric_type],
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "endpoint": endpoint,
        "user_id": None,
        "session_id": None,
    }


def _cursor_of(row: Row) -> str:
    at_s = int(datetime.fromisoformat(row["timestamp"]).timestamp())
    return _close(at_s, row["metric_type"], row["endpoint"] or "")


# --- single requests --------------------------------------------------------------------------


def _of_somebody(
    filters: MetricFilters, begin: datetime, end: datetime
) -> tuple[list[Row], str | None]:
    if filters.metric_type not in (None, "response_time"):
        raise BadInput(
            "metric_type", filters.metric_type, ["response_time"],
            "Of a user or a session only response times of single requests are kept.",
        )  # fmt: skip
    rows = RequestSample.objects.filter(at__gte=begin, at__lt=end)
    if filters.user_id is not None:
        rows = rows.filter(user_id=filters.user_id)
    if filters.session_id is not None:
        rows = rows.filter(session_hash=filters.session_id)
    if filters.endpoint is not None:
        rows = rows.filter(route=filters.endpoint)
    if filters.cursor is not None:
        at_s, last = _open(filters.cursor, (int, int))
        at = datetime.fromtimestamp(at_s, UTC)
        rows = rows.filter(Q(at__lt=at) | Q(at=at, id__lt=last))
    found = list(rows.order_by("-at", "-id")[: filters.limit + 1])
    shown = [
        {
            **_row("response_time", row.duration_ms, row.at, row.route),
            "id": f"request-{row.pk}",
            "user_id": row.user_id,
            "session_id": row.session_hash or None,
        }
        for row in found[: filters.limit]
    ]
    if len(found) <= filters.limit:
        return shown, None
    last_row = found[filters.limit - 1]
    return shown, _close(int(last_row.at.timestamp()), last_row.pk)


# --- cursors ----------------------------------------------------------------------------------


def _close(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _open(cursor: str, kinds: tuple[type, ...]) -> list[Any]:
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        fits = isinstance(parts, list) and [type(part) for part in parts] == list(kinds)
        if fits and 0 <= parts[0] < 2**33 and all(abs(p) < 2**63 for p in parts if type(p) is int):
            return list(parts)
    except (ValueError, binascii.Error, UnicodeError, RecursionError):
        pass
    raise BadInput("cursor", cursor[:80], "`next_cursor` of an answer to the same question")
