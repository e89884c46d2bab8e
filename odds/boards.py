"""What is on offer now, read from PostgreSQL as JSON that PostgreSQL itself built.

Building the JSON in SQL costs a node a tenth of what rows and objects cost, so each selector is
one statement; what they answer is decoded into `Board` where a page must be drawn. Prices are
decimal odds, times are seconds of the Unix epoch (UTC), and a price that a source no longer offers
is marked suspended and never counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from odds.comparing import Line, Table, tables, typical_s
from performance.queries.services import on_replica

IN_PLAY_H = 4
"""No source says when a match ends, so it leaves the boards this long after its start."""
PAGE_EVENTS = 40
"""Events on one page of a board."""
DAY_S = 86_400
EVENT_TABLES = 24
"""Lines of one market on an event's page; alternate lines can be many."""


class BoardEvent(msgspec.Struct, frozen=True, gc=False):
    id: str
    sport_key: str
    sport_title: str
    commence_time: int
    date_only: bool
    home_team: str
    away_team: str
    in_play: bool
    recorded_s: tuple[float, float]
    """Between which seconds of the Unix epoch its history was recorded, with a day to spare."""
    tables: list[Table]


class Board(msgspec.Struct, frozen=True, gc=False):
    as_of: float
    """The database's clock when it was read."""
    typical_confirmed_at: int | None
    """The median of `confirmed_at` over all prices on offer; None when there are none."""
    total: int
    """Events that match, on all pages."""
    bookmakers: dict[str, str]
    """key: title, in the order of their titles, of those that quote anything here."""
    events: list[BoardEvent]


class _ReadEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as the statement gives it, before its prices are compared."""

    id: str
    sport_key: str
    sport_title: str
    commence_time: int
    date_only: bool
    home_team: str
    away_team: str
    in_play: bool
    first_seen_at: float
    lines: list[Line]


class _Read(msgspec.Struct, frozen=True, gc=False):
    as_of: float
    bookmakers: dict[str, str]
    """All active ones, or those asked for."""
    events: list[_ReadEvent]


_decode = msgspec.json.Decoder(_Read).decode


class SportRow(msgspec.Struct, frozen=True, gc=False):
    key: str
    group: str
    title: str
    description: str
    active: bool
    has_outrights: bool
    event_count: int
    in_play_count: int


# Each price becomes text in one pass and is grouped once; all else is done on a few rows in
# `comparing`. json_build_array looks up the type of each argument of each row anew, concat_ws once;
# what is not a number is quoted once a bookmaker and once a line. Conditions that do not apply are
# left out of the text: of `parameter IS NULL OR …` a generic plan makes no index condition.
_PRICED = """
books AS MATERIALIZED (
    SELECT id, key, title, '[' || to_json(key)::text AS opened
    FROM odds_bookmaker WHERE active {of_bookmakers}
), lines AS (
    SELECT p.event_id, p.market, p.outcome, p.point,
        string_agg(concat_ws(',', b.opened, p.id, p.price,
            date_part('epoch', coalesce(p.last_update, p.seen_at))::bigint,
            date_part('epoch', p.changed_at)::bigint,
            CASE WHEN p.suspended_at IS NULL THEN 'false]' ELSE 'true]' END), ',') AS offers
    FROM shown s
    JOIN odds_price p ON p.event_id = s.id {of_market}
    JOIN books b ON b.id = p.bookmaker_id
    GROUP BY p.event_id, p.market, p.outcome, p.point
), grouped AS (
    SELECT event_id, string_agg(concat('[', to_json(market), ',', to_json(outcome), ',',
        coalesce(point::text, 'null'), ',[', offers, ']]'), ',') AS lines
    FROM lines GROUP BY event_id
)
SELECT concat('{{"as_of":', date_part('epoch', now()), ',"bookmakers":',
    coalesce((SELECT json_object_agg(key, title ORDER BY lower(title)) FROM books)::text, '{{}}'),
    ',"events":[', (
        SELECT string_agg(concat('{{"id":', to_json(s.key), ',"sport_key":', to_json(s.sport_id),
            ',"sport_title":', to_json(s.sport_title),
            ',"commence_time":', date_part('epoch', s.commence_time)::bigint,
            ',"date_only":', to_json(s.date_only), ',"home_team":', to_json(s.home_team),
            ',"away_team":', to_json(s.away_team),
            ',"in_play":', to_json(s.commence_time <= now()),
            ',"first_seen_at":', date_part('epoch', s.first_seen_at),
            ',"lines":[', g.lines, ']}}'), ','
            ORDER BY s.commence_time, s.key)
        FROM shown s LEFT JOIN grouped g ON g.event_id = s.id
    ), ']}}')
"""

_BOARD = (
    """
WITH shown AS MATERIALIZED (
    SELECT e.id, e.key, e.sport_id, e.commence_time, e.date_only, e.home_team, e.away_team,
        e.first_seen_at, sp.title AS sport_title
    FROM odds_event e JOIN odds_sport sp ON sp.key = e.sport_id
    WHERE e.sport_id = %(sport)s
      AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
      AND EXISTS (SELECT 1 FROM odds_price q WHERE q.event_id = e.id AND q.market = %(market)s)
    ORDER BY e.commence_time, e.key LIMIT {page_events} OFFSET %(offset)s::int
), """
    + _PRICED
)

_TOTAL = """
SELECT count(*) FROM odds_event e
WHERE e.sport_id = %(sport)s
  AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
  AND EXISTS (SELECT 1 FROM odds_price q WHERE q.event_id = e.id AND q.market = %(market)s)
"""

_EVENT = (
    """
WITH shown AS MATERIALIZED (
    SELECT e.id, e.key, e.sport_id, e.commence_time, e.date_only, e.home_team, e.away_team,
        e.first_seen_at, sp.title AS sport_title
    FROM odds_event e JOIN odds_sport sp ON sp.key = e.sport_id WHERE e.key = %(key)s
), """
    + _PRICED
)

# A source that names no group says it by the first part of its key.
_GROUP = """coalesce(nullif(s."group", ''), CASE split_part(s.key, '_', 1)
    WHEN 'americanfootball' THEN 'American Football' WHEN 'icehockey' THEN 'Ice Hockey'
    WHEN 'football' THEN 'Soccer' ELSE initcap(split_part(s.key, '_', 1)) END)"""

# A count for each sport by itself reads its coming events alone, in the index; grouping all events
# would read every season that was ever imported.
_SPORTS = f"""
SELECT coalesce(json_agg(json_build_object('key', s.key, 'group', {_GROUP}, 'title', s.title,
    'description', s.title, 'active', s.active, 'has_outrights', s.has_outrights,
    'event_count', c.events, 'in_play_count', c.in_play)
    ORDER BY {_GROUP}, s.title), '[]'::json)::text
FROM odds_sport s CROSS JOIN LATERAL (
    SELECT count(*) AS events, count(*) FILTER (WHERE e.commence_time <= now()) AS in_play
    FROM odds_event e WHERE e.sport_id = s.key
      AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
) c
WHERE s.active
"""


def board(
    sport: str,
    *,
    market: str,
    bookmakers: Sequence[str] = (),
    page: int = 1,
    total: int | None = None,
) -> Board:
    """Return one page of a sport's coming and running events, soonest first.

    Each event has the one table of `market` with the most prices. With `bookmakers`, only theirs
    are there and count for the best. One query, and one more to count where `total` is not given;
    unknown sports give an empty board.
    """
    found = _read(
        _statement(_BOARD, of_market="AND p.market = %(market)s", bookmakers=bookmakers),
        {
            "sport": sport,
            "market": market,
            "bookmakers": list(bookmakers),
            "in_play_h": IN_PLAY_H,
            "offset": (page - 1) * PAGE_EVENTS,
        },
    )
    return _compare(found, most=1, total=board_total(sport, market) if total is None else total)


def board_total(sport: str, market: str) -> int:
    """Return how many events a sport's board has on all pages; one query, 10 us an event."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTAL, {"sport": sport, "market": market, "in_play_h": IN_PLAY_H})
        total: int = cursor.fetchone()[0]
    return total


def event(key: str, *, bookmakers: Sequence[str] = ()) -> Board:
    """Return a board of one event with all its markets, whenever it is; one query.

    `events` is empty when there is no such event.
    """
    found = _read(
        _statement(_EVENT, of_market="", bookmakers=bookmakers),
        {"key": key, "bookmakers": list(bookmakers)},
    )
    return _compare(found, most=EVENT_TABLES, total=len(found.events))


def sports() -> bytes:
    """Return all active sports as a JSON list of `SportRow`, with their events; one query."""
    return fetch_json(_SPORTS, {"in_play_h": IN_PLAY_H}, may_be_late=True)


def bookmakers() -> dict[str, str]:
    """Return {key: title} of all active bookmakers, by title; one query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, title FROM odds_bookmaker WHERE active ORDER BY lower(title)")
        return dict(cursor.fetchall())


def near_events(key: str, *, limit: int = 3) -> list[str]:
    """Return ids that begin as `key` does, for the reader of a mistyped link; one query.

    By the operators of the index for LIKE: LIKE itself with a parameter reads every event, since a
    plan that is made once cannot know where the pattern's % stands.
    """
    begin = key[:8]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key FROM odds_event WHERE key ~>=~ %s AND key ~<~ %s ORDER BY key LIMIT %s",
            [begin, begin + chr(0x10FFFF), limit],
        )
        return [row[0] for row in cursor.fetchall()]


def fetch_json(sql: str, parameters: Mapping[str, Any], *, may_be_late: bool = False) -> bytes:
    """Run a statement whose one cell is JSON text.

    What may be a second late is read from a replica. Prices are not: read there, just after the
    batch that changed them, an old one would be cached as new.
    """

    def read(link: BaseDatabaseWrapper) -> bytes:
        with link.cursor() as cursor:
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
        text: str = row[0]
        return text.encode()

    return on_replica(read) if may_be_late else read(connection)


def _statement(sql: str, *, of_market: str, bookmakers: Sequence[str]) -> str:
    """Fill in the conditions that apply: four texts in all, so that each stays prepared."""
    return sql.format(
        of_market=of_market,
        of_bookmakers="AND key = ANY(%(bookmakers)s::text[])" if bookmakers else "",
        page_events=PAGE_EVENTS,
    )


def _read(sql: str, parameters: Mapping[str, Any]) -> _Read:
    return _decode(fetch_json(sql, parameters))


def _compare(found: _Read, *, most: int, total: int) -> Board:
    quoting = {
        offer.bookmaker for event in found.events for line in event.lines for offer in line.offers
    }
    return Board(
        as_of=found.as_of,
        typical_confirmed_at=typical_s([line for event in found.events for line in event.lines]),
        total=total,
        bookmakers={key: title for key, title in found.bookmakers.items() if key in quoting},
        events=[
            BoardEvent(
                id=one.id,
                sport_key=one.sport_key,
                sport_title=one.sport_title,
                commence_time=one.commence_time,
                date_only=one.date_only,
                home_team=one.home_team,
                away_team=one.away_team,
                in_play=one.in_play,
                recorded_s=_recorded_s(one),
                tables=tables(one.lines, one.home_team, one.away_team, most=most),
            )
            for one in found.events
        ],
    )


def _recorded_s(event: _ReadEvent) -> tuple[float, float]:
    moved = [offer.changed_at for line in event.lines for offer in line.offers]
    return event.first_seen_at - DAY_S, max(moved, default=0) + DAY_S
