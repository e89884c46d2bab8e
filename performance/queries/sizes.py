"""How tables grow: their sizes by the day, kept by ourselves since the server forgets."""

from __future__ import annotations

import datetime
from typing import Any

from django.utils import timezone

from performance.queries.activity import rows
from performance.queries.conf import conf
from performance.queries.models import TableDay

WEEK = datetime.timedelta(days=7)

_SIZES = """
SELECT c.relname AS "table", sum(pg_total_relation_size(part.relid))::bigint AS size_bytes,
       sum(greatest(l.reltuples, 0))::bigint AS rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
CROSS JOIN LATERAL (
    SELECT relid FROM pg_partition_tree(c.oid) UNION SELECT c.oid
) part
JOIN pg_class l ON l.oid = part.relid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.relname ORDER BY size_bytes DESC
"""


def take() -> int:
    """Write today's sizes down, again if they are there; return how many tables."""
    today = timezone.now().date()
    found = rows(_SIZES)
    TableDay.objects.bulk_create(
        [TableDay(day=today, **row) for row in found],
        update_conflicts=True,
        unique_fields=["table", "day"],
        update_fields=["size_bytes", "rows"],
    )
    before = today - datetime.timedelta(days=max(conf().history_days, 8))
    TableDay.objects.filter(day__lt=before).delete()
    return len(found)


def growth() -> list[dict[str, Any]]:
    """Return each table with its size, and how much it grew in seven days; None: not yet known."""
    week_ago = timezone.now().date() - WEEK
    older = dict(
        TableDay.objects.filter(day__lte=week_ago, day__gte=week_ago - WEEK)
        .order_by("table", "day")
        .values_list("table", "size_bytes")
    )
    return [
        {
            **row,
            "grown_bytes": row["size_bytes"] - older[row["table"]]
            if row["table"] in older
            else None,
        }
        for row in rows(_SIZES)[:20]
    ]
