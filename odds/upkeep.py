"""What the database needs from time to time, whether prices come or not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from django.db import connection, transaction

from odds import ingest_sql, openings, outbox, partitions, refusals, sheets
from odds.conf import conf

QUOTED_BY = """
SELECT p.event_id, array_agg(DISTINCT p.market), e.sport_id, e.key
FROM odds_price p JOIN odds_event e ON e.id = p.event_id
WHERE p.bookmaker_id = %s AND e.commence_time > %s::timestamptz - interval '1 day'
GROUP BY p.event_id, e.sport_id, e.key
"""


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
    with transaction.atomic():
        moves, tags = openings.refresh(at=at)
        if moves:
            _tell([*tags, "arbitrage"], moves, at)
    return moves


def judge_bookmaker_anew(bookmaker_id: int, *, now: datetime | None = None) -> openings.Moves:
    """Do what follows when staff change a bookmaker's commission or switch it on or off.

    Every market to come that it quotes is looked at again, its sports and events are
    invalidated, open sockets are told to read again.
    """
    at = now or datetime.now(UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(QUOTED_BY, [bookmaker_id, at])
        rows = cursor.fetchall()
        cursor.execute(openings.LOCK_EVENTS, [[row[0] for row in rows]])
        moves = openings.recompute({row[0]: row[1] for row in rows}, at=at)
        sports = sorted({row[2] for row in rows})
        tags = [f"sport:{sport}" for sport in sports] + [f"event:{row[3]}" for row in rows]
        _tell([*tags, "arbitrage"], moves, at, resync=sports)
    return moves


def _tell(
    tags: list[str], moves: openings.Moves, at: datetime, *, resync: list[str] | None = None
) -> None:
    message: dict[str, Any] = {
        "source": "upkeep",
        "at": at.isoformat(),
        "opportunities": moves.as_message(),
    }
    message |= {"changes": []} if resync is None else {"resync": resync}
    with connection.cursor() as cursor:
        cursor.execute(ingest_sql.KEEP_MESSAGE, [json.dumps(tags), json.dumps(message)])
    transaction.on_commit(outbox.deliver, robust=True)


def maintain(*, now: datetime | None = None) -> Kept:
    """Make the coming days of history, drop the old ones; forget old refusals and sheets."""
    at = now or datetime.now(UTC)
    made, dropped = partitions.maintain(now=at)
    deleted = refusals.forget_older_than(conf().refused_days, now=at)
    with connection.cursor() as cursor:
        sheets.forget(cursor, at=at)
    return Kept(made, dropped, deleted)
