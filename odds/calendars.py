"""When the events of each sport begin, in one sorted array: counted without reading them.

Every batch writes into the events that it is about, so counting them, even in an index, visits each
of ten thousand rows. Whoever adds events or puts them off writes their sports' calendars anew
(`keep`); a sport without one is counted event by event, which gives the same.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from odds.sheets import IN_PLAY_H

MARGIN = timedelta(days=1)
"""Events that began longer ago are in no calendar; more than our clock and the server's differ."""

# The order of locks: events, then sports. Who adds to the same sport waits here for the other's
# COMMIT, and the next statement sees what the other has added.
_LOCK = """
SELECT key FROM odds_sport WHERE key = ANY(%s::text[]) ORDER BY key FOR NO KEY UPDATE
"""
_KEEP = f"""
INSERT INTO odds_calendar (sport_id, begins)
SELECT s.key, ARRAY(
    SELECT e.commence_time FROM odds_event e
    WHERE e.sport_id = s.key AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H})
    ORDER BY e.commence_time)
FROM odds_sport s WHERE s.key = ANY(%s::text[])
ON CONFLICT (sport_id) DO UPDATE SET begins = excluded.begins
"""

COUNTED = f"""
SELECT s.*,
    CASE WHEN c.begins IS NULL THEN (SELECT count(*) FROM odds_event e WHERE e.sport_id = s.key
        AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H}))
    ELSE cardinality(c.begins) - width_bucket(
        now() - make_interval(hours => {IN_PLAY_H}), c.begins) END AS events,
    CASE WHEN c.begins IS NULL THEN (SELECT count(*) FROM odds_event e WHERE e.sport_id = s.key
        AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H})
        AND e.commence_time <= now())
    ELSE width_bucket(now(), c.begins) - width_bucket(
        now() - make_interval(hours => {IN_PLAY_H}), c.begins) END AS in_play
FROM odds_sport s LEFT JOIN odds_calendar c ON c.sport_id = s.key
WHERE s.active
"""
"""The active sports, with how many events they have, and how many of those have begun."""


def keep(cursor: Any, sports: Collection[str]) -> None:
    """Write the calendars of these sports anew, after their events; two statements or none."""
    if sports:
        cursor.execute(_LOCK, [sorted(sports)])
        cursor.execute(_KEEP, [sorted(sports)])


def counts(commence_time: datetime) -> bool:
    """Say whether an event may be in a calendar: the mass of past seasons is not."""
    return commence_time > datetime.now(UTC) - MARGIN
