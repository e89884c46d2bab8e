"""What is on offer now, read from PostgreSQL as JSON that PostgreSQL itself built.

Building the JSON in SQL costs a node a tenth of what rows and objects cost, so each selector is
one statement; what an event's revision says is still held (`held`) is not sent again. Prices are
decimal odds, times are seconds of the Unix epoch (UTC), and a price that a source no longer offers
is marked suspended and never counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from django.db import connection

from odds.calendars import COUNTED
from odds.compared import Compared, Read, fetch_json, read_compared
from odds.comparing import Line, Table
from odds.sheets import ALL_MARKETS, IN_PLAY_H, LISTED, ONE_MARKET, reading

PAGE_EVENTS = 40
"""Events on one page of a board."""
EVENT_TABLES = 24
"""Lines of one market on an event's page; alternate lines can be many."""


DAY_S = 86_400


class BoardEvent(msgspec.Struct, frozen=True, gc=False):
    id: str
    sport_key: str
    sport_title: str
    commence_time: int
    date_only: bool
    home_team: str
    away_team: str
    in_play: bool
    first_seen_at: float
    tables: list[Table]
    lines: list[Line]
    """All of it as it was read, the lines too for which there is no table."""

    @property
    def recorded_s(self) -> tuple[float, float]:
        """Between which seconds of the Unix epoch its history was recorded, a day to spare."""
        moved_s = max((offer.changed_at for line in self.lines for offer in line.offers), default=0)
        return self.first_seen_at - DAY_S, moved_s + DAY_S


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


class SportRow(msgspec.Struct, frozen=True, gc=False):
    key: str
    group: str
    title: str
    description: str
    active: bool
    has_outrights: bool
    event_count: int
    in_play_count: int


_BOARD = f"""{LISTED}
    WHERE e.sport_id = %(sport)s
      AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
      AND %(market)s = ANY(e.markets)
    ORDER BY e.commence_time, e.key LIMIT {PAGE_EVENTS} OFFSET %(offset)s::int"""

_TOTAL = """
SELECT count(*) FROM odds_event e
WHERE e.sport_id = %(sport)s
  AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
  AND %(market)s = ANY(e.markets)
"""

EVENT = f"{LISTED} WHERE e.key = %(key)s"

# A source that names no group says it by the first part of its key. Text by concat, for the reason
# that `sheets` gives.
_SPORTS = f"""
SELECT concat('[', string_agg(concat('{{"key":', to_json(key), ',"group":', to_json(named),
    ',"title":', to_json(title), ',"description":', to_json(title), ',"active":true',
    ',"has_outrights":', to_json(has_outrights), ',"event_count":', events,
    ',"in_play_count":', in_play, '}}'), ',' ORDER BY named, title), ']')
FROM (
    SELECT *, coalesce(nullif(s."group", ''), CASE split_part(s.key, '_', 1)
        WHEN 'americanfootball' THEN 'American Football' WHEN 'icehockey' THEN 'Ice Hockey'
        WHEN 'football' THEN 'Soccer' ELSE initcap(split_part(s.key, '_', 1)) END) AS named
    FROM ({COUNTED}) s
) named
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
    asked = ("board", sport, market, tuple(bookmakers), page)
    found = read_compared(
        asked,
        reading(_BOARD, markets=ONE_MARKET, of_bookmakers=bool(bookmakers)),
        {
            "sport": sport,
            "market": market,
            "bookmakers": list(bookmakers),
            "most": PAGE_EVENTS,
            "in_play_h": IN_PLAY_H,
            "offset": (page - 1) * PAGE_EVENTS,
        },
        most=1,
    )
    return _board(*found, total=board_total(sport, market) if total is None else total)


def board_total(sport: str, market: str) -> int:
    """Return how many events a sport's board has on all pages; one query, 1 us an event."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTAL, {"sport": sport, "market": market, "in_play_h": IN_PLAY_H})
        total: int = cursor.fetchone()[0]
    return total


def event(key: str, *, bookmakers: Sequence[str] = ()) -> Board:
    """Return a board of one event with all its markets, whenever it is; one query.

    `events` is empty when there is no such event.
    """
    found = read_compared(
        ("event", key, tuple(bookmakers)),
        reading(EVENT, markets=ALL_MARKETS, of_bookmakers=bool(bookmakers)),
        {"key": key, "bookmakers": list(bookmakers), "most": 1},
        most=EVENT_TABLES,
    )
    return _board(*found, total=len(found[1]))


def sports() -> bytes:
    """Return all active sports as a JSON list of `SportRow`, with their events; one query."""
    return fetch_json(_SPORTS, {}, may_be_late=True)


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


def _board(found: Read, compared: list[Compared], *, total: int) -> Board:
    names = found.decoded_names()
    quoting = frozenset().union(*[one.quoting for one in compared])
    confirmed_at = sorted([at for one in compared for at in one.confirmed_at])
    return Board(
        as_of=found.as_of,
        typical_confirmed_at=confirmed_at[(len(confirmed_at) - 1) // 2] if confirmed_at else None,
        total=total,
        bookmakers={key: title for key, title in names.bookmakers.items() if key in quoting},
        events=[
            BoardEvent(
                id=one.read.id,
                sport_key=one.read.sport_key,
                sport_title=names.sports[one.read.sport_key],
                commence_time=one.read.commence_time,
                date_only=one.read.date_only,
                home_team=one.read.home_team,
                away_team=one.read.away_team,
                in_play=one.read.commence_time <= found.as_of,
                first_seen_at=one.read.first_seen_at,
                tables=one.tables,
                lines=one.read.lines,
            )
            for one in compared
        ],
    )
