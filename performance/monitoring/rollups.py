"""Minutes and hours in PostgreSQL: written by COPY, each exactly once.

How far they reach (`RollerState`) moves in the same transaction, and only from where this monitor
believes it to be. So a restart resumes where the tables end, and of two monitors one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from performance.monitoring import partitions, statements, wire
from performance.monitoring.conf import conf
from performance.monitoring.errors import Superseded
from performance.monitoring.merging import Merged
from performance.monitoring.models import ErrorGroup, MetricMinute, MetricSeries, RollerState

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
SLOWEST_A_ROUTE = 3
ERRORS_A_MINUTE = 20
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

_ids: dict[wire.SeriesKey, int] = {}
_IDS_KEPT = 20_000


@dataclass(slots=True)
class Minute:
    """One minute in the making."""

    at: datetime
    last_id: str = "0-0"
    merged: Merged = field(default_factory=Merged)
    gauges: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(kind, key): [seconds, sum, greatest]."""
    faults: dict[str, wire.Fault] = field(default_factory=dict)
    requests: list[tuple[str, wire.SlowRequest]] = field(default_factory=list)
    statements: dict[str, str] = field(default_factory=dict)
    """The text of what `requests` asked, by fingerprint."""

    def add(
        self, second: Merged, requests: Iterable[tuple[str, wire.SlowRequest]], last_id: str
    ) -> None:
        self.merged.add(second)
        for name, value in second.gauges.items():
            row = self.gauges.setdefault(name, [0, 0, 0])
            row[0] += 1
            row[1] += int(value)
            row[2] = max(row[2], int(value))
        self.requests = keep_worst([*self.requests, *requests])
        self.last_id = last_id

    def add_faults(self, faults: Iterable[wire.Fault]) -> None:
        for fault in faults:
            known = self.faults.get(fault.fingerprint)
            if known is not None:
                fault.times += known.times
            self.faults[fault.fingerprint] = fault


def keep_worst(
    requests: Iterable[tuple[str, wire.SlowRequest]],
) -> list[tuple[str, wire.SlowRequest]]:
    """Keep the slowest three a route, and the first twenty that failed."""
    slow: dict[str, int] = {}
    kept, failed = [], 0
    for node, row in sorted(requests, key=lambda pair: -pair[1].duration_ms):
        if row.status >= 500:
            failed += 1
            if failed <= ERRORS_A_MINUTE:
                kept.append((node, row))
        else:
            slow[row.route] = slow.get(row.route, 0) + 1
            if slow[row.route] <= SLOWEST_A_ROUTE:
                kept.append((node, row))
    return kept


def state() -> RollerState:
    """Return how far the minutes reach; the first monitor of all finds the beginning of time."""
    found, _ = RollerState.objects.get_or_create(
        name="minutes", defaults={"last_id": "0-0", "minute": BEGINNING}
    )
    return found


def write_minute(minute: Minute, *, expected_id: str, newest: datetime) -> datetime:
    """Store one minute and move the state on; return the time under which it is stored.

    Raises Superseded, with nothing stored, when the state is not at `expected_id`. `newest` is the
    last minute stored: after a clock's jump back the next follows it, and overwrites nothing.
    """
    at = max(minute.at, newest + MINUTE)
    for kind in (partitions.MINUTES, partitions.SAMPLES):
        partitions.ensure(kind, at)
    rows = _rows(minute)
    ids = series_ids([row[0] for row in rows])
    with transaction.atomic():
        moved = RollerState.objects.filter(name="minutes", last_id=expected_id).update(
            last_id=minute.last_id, minute=at, updated_at=datetime.now(UTC)
        )
        if not moved:
            raise Superseded(f"the minute {at:%H:%M}")
        _copy(
            "performance_monitoring_metricminute (series_id, at, n, total, greatest, buckets)",
            ((ids[key], at, *numbers) for key, *numbers in rows),
        )
        _copy(
            "performance_monitoring_requestsample (at, route, status, duration_ms, sql_ms, "
            "sql_count, cache_ms, user_id, session_hash, node, error, http_ms, render_ms, "
            "statements)",
            (
                (at, row.route[:300], row.status, row.duration_ms, row.sql_ms, row.sql_count,
                 row.cache_ms, row.user_id, row.session_hash, node[:80], row.error[:120],
                 row.http_ms, row.render_ms, json.dumps(row.statements))
                for node, row in minute.requests
            ),
        )  # fmt: skip
        statements.store(minute.statements, [row for _, row in minute.requests], at.date())
        _keep_faults(minute.faults.values(), at)
    return at


def _keep_faults(faults: Iterable[wire.Fault], at: datetime) -> None:
    """Add to the groups of exceptions; in the minute's transaction, so each counts once."""
    for fault in sorted(faults, key=lambda one: one.fingerprint):
        newest = {
            "message": fault.message,
            "trace": fault.trace,
            "place": fault.place,
            "endpoint": fault.endpoint,
            "last_seen_at": at,
        }
        known = ErrorGroup.objects.filter(fingerprint=fault.fingerprint)
        if not known.update(**newest, times=F("times") + fault.times):
            ErrorGroup.objects.create(
                fingerprint=fault.fingerprint,
                kind=fault.kind,
                times=fault.times,
                first_seen_at=at,
                **newest,
            )


def _rows(minute: Minute) -> list[tuple[wire.SeriesKey, int, int, int, str]]:
    rows: list[tuple[wire.SeriesKey, int, int, int, str]] = [
        (key, row.n, row.sum_us, row.max_us, json.dumps(row.buckets))
        for key, row in minute.merged.series.items()
    ]
    rows += [
        ((kind, key, "count"), amount, 0, 0, "{}")
        for (kind, key), amount in minute.merged.counts.items()
    ]
    rows += [
        ((kind, key, "gauge"), seconds, total, greatest, "{}")
        for (kind, key), (seconds, total, greatest) in minute.gauges.items()
    ]
    return rows


def _copy(target: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def series_ids(keys: Iterable[wire.SeriesKey]) -> dict[wire.SeriesKey, int]:
    """Return the ids of series, making those that are new; two queries at most.

    It commits by itself: an id that a rollback took back must not stay in this process's memory.
    """
    wanted = set(keys)
    missing = sorted(wanted - _ids.keys())
    if missing:
        if len(_ids) > _IDS_KEPT:
            _ids.clear()
            missing = sorted(wanted)
        columns = [list(column) for column in zip(*missing, strict=True)]
        with transaction.atomic(durable=not connection.in_atomic_block), connection.cursor() as cur:
            unnest = "SELECT * FROM unnest(%s::varchar[], %s::varchar[], %s::varchar[])"
            table = MetricSeries._meta.db_table
            cur.execute(
                f"INSERT INTO {table} (kind, key, status) {unnest} ON CONFLICT DO NOTHING", columns
            )
            cur.execute(
                f"SELECT kind, key, status, id FROM {table} "
                f"WHERE (kind, key, status) IN ({unnest})",
                columns,
            )
            _ids.update({(kind, key, status): id_ for kind, key, status, id_ in cur.fetchall()})
    return {key: _ids[key] for key in wanted}


def forget_ids() -> None:
    """Forget the series' ids, for tests whose tables are rolled back."""
    _ids.clear()


_HOUR_SQL = """
WITH part AS (
    SELECT * FROM performance_monitoring_metricminute WHERE at >= %(begin)s AND at < %(end)s
), counted AS (
    SELECT series_id, bucket.key, sum(bucket.value::bigint) AS n
    FROM part, jsonb_each_text(buckets) AS bucket GROUP BY 1, 2
), packed AS (
    SELECT series_id, jsonb_object_agg(key, n) AS buckets FROM counted GROUP BY 1
), summed AS (
    SELECT series_id, sum(n) AS n, sum(total) AS total, max(greatest) AS greatest
    FROM part GROUP BY 1
)
INSERT INTO performance_monitoring_metrichour (series_id, at, n, total, greatest, buckets)
SELECT series_id, %(begin)s, n, total, greatest, coalesce(buckets, '{}'::jsonb)
FROM summed LEFT JOIN packed USING (series_id)
ON CONFLICT DO NOTHING
"""


def write_hours(before: datetime, *, limit: int = 24) -> int:
    """Sum the finished hours before `before`, `limit` at most, from minutes; return how many.

    It is decided by what is in the tables, so that an hour that was missed is made later, and one
    that is there is left alone: the insert of an hour is one statement, whole or not at all.
    """
    state_of_hours, _ = RollerState.objects.get_or_create(
        name="hours", defaults={"last_id": "-", "minute": BEGINNING}
    )
    last = before.replace(minute=0, second=0, microsecond=0)
    oldest = (
        MetricMinute.objects.filter(at__gte=state_of_hours.minute)
        .order_by("at")
        .values_list("at", flat=True)
        .first()
    )
    if oldest is None:
        return 0
    begin, made = oldest.replace(minute=0, second=0, microsecond=0), 0
    while begin < last and made < limit:
        partitions.ensure(partitions.HOURS, begin)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_HOUR_SQL, {"begin": begin, "end": begin + HOUR})
            RollerState.objects.filter(name="hours", minute__lte=begin).update(minute=begin + HOUR)
        begin, made = begin + HOUR, made + 1
    return made


def prune(now: datetime) -> list[str]:
    """Drop what is older than the conf says; return the partitions dropped."""
    minutes = now - timedelta(days=conf().minutes_kept_days)
    hours = now - timedelta(days=conf().hours_kept_days)
    statements.forget_before(minutes.date())
    return [
        *partitions.drop_before(partitions.MINUTES, minutes),
        *partitions.drop_before(partitions.SAMPLES, minutes),
        *partitions.drop_before(partitions.HOURS, hours),
    ]
