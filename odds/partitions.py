"""The days of price history: made ahead, dropped when old. A day is UTC's.

A day that nobody made is no loss: the DEFAULT partition takes its rows, and making the day later
moves them out of it.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, date, datetime, timedelta

from django.db import OperationalError, connection, transaction

from odds.conf import conf

logger = logging.getLogger(__name__)

TABLE = "odds_pricechange"
NAME = re.compile(rf"{TABLE}_(\d{{4}})(\d\d)(\d\d)")
SETTLED = "_settled"
"""How the index of a settled day ends."""
LOCK = 0x0DD5_0001
"""Advisory: two processes that make the same day follow each other."""
SETTLED_S = 3_600
"""So long after a day's end no batch writes into it any more."""
MOST_SETTLED = 14
"""Days that one run settles, newest first: each takes a second for a million changes."""
_made: set[date] = set()
"""Days that this process knows to be there, so that ingest need not ask."""


def name_of(day: date) -> str:
    return f"{TABLE}_{day:%Y%m%d}"


def make_sure_of(at: datetime) -> None:
    """Make the partition of `at`'s day if this process has not seen it yet. Never fails a batch:
    what cannot be made now is left to the DEFAULT partition and the daily task."""
    day = at.astimezone(UTC).date()
    if day in _made:
        return
    try:
        ensure(day)
    except OperationalError as error:  # somebody holds the table; history must not wait for it
        logger.warning("The partition %s could not be made now: %s", name_of(day), error)
        return
    _made.clear()
    _made.add(day)


def ensure(day: date) -> bool:
    """Make the partition of `day`, with its rows from DEFAULT; False when it is there already.

    Costs one statement when it is there. Waits at most 2 s for the table's lock, then raises
    OperationalError with nothing done.
    """
    if day in existing():
        return False
    name, first, after = name_of(day), day.isoformat(), (day + timedelta(days=1)).isoformat()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if day in existing():  # somebody made it while we waited
            return False
        # DEFAULT may hold rows of this day; PostgreSQL refuses a partition that they belong to.
        cursor.execute(f"LOCK TABLE {TABLE}_default IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING INDEXES)")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {TABLE}_default "
            f"WHERE recorded_at >= '{first} 00:00+00' AND recorded_at < '{after} 00:00+00' "
            f"RETURNING *) INSERT INTO {name} SELECT * FROM moved"
        )
        moved = cursor.rowcount
        cursor.execute(
            f"ALTER TABLE {TABLE} ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{first} 00:00+00') TO ('{after} 00:00+00')"
        )
    if moved:
        logger.info("Moved %d rows of history from DEFAULT into %s", moved, name)
    return True


def existing() -> set[date]:
    """Return the days that have a partition of their own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [TABLE],
        )
        matches = [NAME.fullmatch(name) for (name,) in cursor.fetchall()]
    return {date(*map(int, match.groups())) for match in matches if match}


def maintain(*, now: datetime) -> tuple[list[date], list[date]]:
    """Make the days ahead, drop the old ones, settle those that are over: (made, dropped).

    Run twice is right.

    Drops nothing when the database's clock and ours differ by more than an hour: a clock that
    jumped ahead must not cost a year of history.
    """
    options = conf()
    today = now.astimezone(UTC).date()
    ahead = [today + timedelta(days=n) for n in range(options.partitions_ahead_days + 1)]
    made = [day for day in ahead if ensure(day)]
    if not _clocks_agree(now):
        logger.error("No old partition was dropped: our clock and the database's differ by > 1 h")
        return made, []
    oldest = today - timedelta(days=options.history_days)
    days = existing()
    dropped = sorted(day for day in days if day < oldest)
    for day in dropped:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            cursor.execute(f"DROP TABLE IF EXISTS {name_of(day)}")
    _made.clear()
    over = {day for day in days.difference(dropped) if day < settled_until(now)}
    for day in sorted(over - settled(), reverse=True)[:MOST_SETTLED]:
        settle(day)
    return made, dropped


def settled_until(now: datetime) -> date:
    """Return the first day of which something may still be recorded."""
    return (now.astimezone(UTC) - timedelta(seconds=SETTLED_S)).date()


def settle(day: date) -> None:
    """Give a day that is over the index that answers for an event by itself. Run twice is right.

    The changes of an event lie between those of all others, so that without it each is read from a
    page of its own. A day that still fills goes without: there it would cost each batch more than
    it spares the few who ask. It serves once the day was vacuumed, which it asks for.
    """
    name = name_of(day)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            f"ALTER TABLE {name} SET (autovacuum_vacuum_insert_threshold = 0, "
            "autovacuum_vacuum_insert_scale_factor = 0)"
        )
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS {name}{SETTLED} ON {name} (event_id, recorded_at) "
            "INCLUDE (price_id, price)"
        )


def settled() -> set[date]:
    """Return the days that are settled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_index x ON x.indrelid = i.inhrelid "
            "JOIN pg_class c ON c.oid = x.indexrelid WHERE i.inhparent = %s::regclass",
            [TABLE],
        )
        names = [row[0].removesuffix(SETTLED) for row in cursor if row[0].endswith(SETTLED)]
    matches = [NAME.fullmatch(name) for name in names]
    return {date(*map(int, match.groups())) for match in matches if match}


def _clocks_agree(now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT abs(extract(epoch FROM clock_timestamp() - %s::timestamptz))", [now])
        return bool(cursor.fetchone()[0] < 3600)
