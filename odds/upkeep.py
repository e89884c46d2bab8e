"""What the database needs from time to time, whether prices come or not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import NamedTuple

from django.db import connection, transaction

from odds import ingest_sql, openings, outbox, partitions, refusals
from odds.conf import conf


class Kept(NamedTuple):
    """What `maintain` did."""

    made: list[date]
    dropped: list[date]
    refusals_deleted: int


def refresh_opportunities(*, now: datetime | None = None) -> openings.Moves:
    """Close the opportunities whose prices grew too old or whose event began; tell of it.

    Four to six statements, whatever their number. Run twice, or at once, is right: the events are
    locked as ingest locks them.
    """
    at = now or datetime.now(UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        moves, tags = openings.refresh(at=at)
        if moves:
            message = {
                "source": "upkeep",
                "at": at.isoformat(),
                "changes": [],
                "opportunities": moves.as_message(),
            }
            cursor.execute(
                ingest_sql.KEEP_MESSAGE, [json.dumps([*tags, "arbitrage"]), json.dumps(message)]
            )
            transaction.on_commit(outbox.deliver, robust=True)
    return moves


def maintain(*, now: datetime | None = None) -> Kept:
    """Make the coming days of history, drop the old ones, and forget old refusals."""
    at = now or datetime.now(UTC)
    made, dropped = partitions.maintain(now=at)
    deleted = refusals.forget_older_than(conf().refused_days, now=at)
    return Kept(made, dropped, deleted)
