"""What is on offer now, read from PostgreSQL as JSON that PostgreSQL itself built.

Building the JSON in SQL costs a node a tenth of what rows and objects cost, so each selector is
one statement and returns bytes; `Board` decodes them where a page must be drawn. Prices are decimal
odds, times are seconds of the Unix epoch (UTC), and a price that a source no longer offers is
marked suspended and never counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db import connection

IN_PLAY_H = 4
"""No source says when a match ends, so it leaves the boards this long after its start."""
PAGE_EVENTS = 40
"""Events on one page of a board."""
EVENT_TABLES = 24
"""Lines of one market on an event's page; alternate lines can be many."""


class Offer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One bookmaker's price for one outcome."""

    bookmaker: str
    price_id: int
    price: float
    confirmed_at: int
    """When the bookmaker last confirmed it, by the provider; when we last saw it where nobody
    says."""
    changed_at: int
    suspended: bool


class Outcome(msgspec.Struct, frozen=True, gc=False):
    name: str
    point: float | None
    """The line from this outcome's own side."""
    best: float | None
    """The highest price on offer (the lowest in lay markets); None when all are suspended."""
    offers: list[Offer]


class Table(msgspec.Struct, frozen=True, gc=False):
    """A set of outcomes that may be compared: one market at one line, with or without a draw."""

    market: str
    line: float | None
    """Totals: the line. Spreads: the home side's."""
    draw: bool
    """Whether these bookmakers price the draw: two-way and three-way quotes never mix."""
    outcomes: list[Outcome]
    best_inverse: float | None
    """Sum of the inverses of the best prices; what it is above 1 is the best book's overround."""

    def inverses(self) -> dict[str, float]:
        """Return that sum for each bookmaker that offers every outcome now."""
        sums: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            for offer in outcome.offers:
                if not offer.suspended:
                    sums.setdefault(offer.bookmaker, []).append(1 / offer.price)
        every = len(self.outcomes)
        if every < 2:  # the other outcomes are only missing here
            return {}
        return {key: sum(found) for key, found in sums.items() if len(found) == every}


class BoardEvent(msgspec.Struct, frozen=True, gc=False):
    id: str
    sport_key: str
    sport_title: str
    commence_time: int
    date_only: bool
    home_team: str
    away_team: str
    in_play: bool
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


class SportRow(msgspec.Struct, frozen=True, gc=False):
    key: str
    group: str
    title: str
    description: str
    active: bool
    has_outrights: bool
    event_count: int
    in_play_count: int


# Lines are read from the home side, so that home -0.5 and away +0.5 stand in one table; NaN is "no
# line" inside the statement, because it equals itself and so groups. Conditions that do not apply
# are left out of the text: of `parameter IS NULL OR …` a generic plan makes no index condition.
_PRICED = """
priced AS MATERIALIZED (
    SELECT p.id, p.event_id, p.market, p.outcome, p.point, p.price, b.key AS bookmaker, b.title,
        p.suspended_at IS NOT NULL AS suspended,
        extract(epoch FROM coalesce(p.last_update, p.seen_at))::bigint AS confirmed_at,
        extract(epoch FROM p.changed_at)::bigint AS changed_at,
        coalesce(CASE WHEN strpos(p.market, 'spreads') > 0 AND p.outcome = s.away_team
            THEN -p.point ELSE p.point END, 'NaN') AS line,
        bool_or(p.outcome = 'Draw') OVER (PARTITION BY p.event_id, p.market, p.bookmaker_id)
            AS draw,
        CASE p.outcome WHEN s.home_team THEN 0 WHEN 'Over' THEN 0 WHEN 'Yes' THEN 0
            WHEN 'Draw' THEN 1 WHEN s.away_team THEN 2 ELSE 3 END AS place
    FROM shown s
    JOIN odds_price p ON p.event_id = s.id
    JOIN odds_bookmaker b ON b.id = p.bookmaker_id AND b.active
    WHERE true {of_market} {of_bookmakers}
), outcomes AS (
    SELECT event_id, market, line, draw, outcome, point, place, count(*) AS offer_count,
        CASE WHEN strpos(market, '_lay') > 0 THEN min(price) FILTER (WHERE NOT suspended)
            ELSE max(price) FILTER (WHERE NOT suspended) END AS best,
        json_agg(json_build_array(bookmaker, id, trim_scale(price), confirmed_at, changed_at,
            suspended) ORDER BY lower(title)) AS offers
    FROM priced GROUP BY event_id, market, line, draw, outcome, point, place
), tables AS (
    SELECT event_id, market, line, draw, sum(offer_count) AS offer_count,
        CASE WHEN bool_and(best IS NOT NULL) AND count(*) > 1 THEN sum(1 / best::float8)
            END AS best_inverse,
        json_agg(json_build_object('name', outcome, 'point', trim_scale(point),
            'best', trim_scale(best), 'offers', offers)
            ORDER BY place, best, outcome) AS outcomes
    FROM outcomes GROUP BY event_id, market, line, draw
), ranked AS (
    SELECT event_id, market, line, draw, outcomes, best_inverse,
        row_number() OVER (PARTITION BY event_id, market
            ORDER BY offer_count DESC, abs(line), line, draw DESC) AS rank
    FROM tables
), grouped AS MATERIALIZED (
    SELECT event_id, json_agg(json_build_object('market', market,
        'line', trim_scale(nullif(line, 'NaN')), 'draw', draw, 'outcomes', outcomes,
        'best_inverse', best_inverse) ORDER BY market, line, draw DESC) AS tables
    FROM ranked WHERE rank <= %(tables)s::int GROUP BY event_id
)
SELECT json_build_object(
    'as_of', extract(epoch FROM now()),
    'typical_confirmed_at', (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY confirmed_at)
        FROM priced WHERE NOT suspended),
    'total', (SELECT count(*) FROM matching),
    'bookmakers', coalesce((SELECT json_object_agg(bookmaker, title ORDER BY lower(title))
        FROM (SELECT DISTINCT bookmaker, title FROM priced) quoting), '{{}}'::json),
    'events', coalesce((
        SELECT json_agg(json_build_object('id', s.key, 'sport_key', s.sport_id,
            'sport_title', s.sport_title,
            'commence_time', extract(epoch FROM s.commence_time)::bigint,
            'date_only', s.date_only, 'home_team', s.home_team, 'away_team', s.away_team,
            'in_play', s.commence_time <= now(), 'tables', coalesce(g.tables, '[]'::json))
            ORDER BY s.commence_time, s.key)
        FROM shown s LEFT JOIN grouped g ON g.event_id = s.id
    ), '[]'::json)
)::text
"""

_BOARD = (
    """
WITH matching AS (
    SELECT e.id, e.key, e.sport_id, e.commence_time, e.date_only, e.home_team, e.away_team
    FROM odds_event e
    WHERE e.sport_id = %(sport)s
      AND e.commence_time > now() - make_interval(hours => %(in_play_h)s::int)
      AND EXISTS (SELECT 1 FROM odds_price q WHERE q.event_id = e.id AND q.market = %(market)s)
), shown AS MATERIALIZED (
    SELECT m.*, sp.title AS sport_title FROM matching m JOIN odds_sport sp ON sp.key = m.sport_id
    ORDER BY m.commence_time, m.key LIMIT {page_events} OFFSET %(offset)s::int
), """
    + _PRICED
)

_EVENT = (
    """
WITH matching AS (SELECT id FROM odds_event WHERE key = %(key)s),
shown AS MATERIALIZED (
    SELECT e.id, e.key, e.sport_id, e.commence_time, e.date_only, e.home_team, e.away_team,
        sp.title AS sport_title
    FROM odds_event e JOIN odds_sport sp ON sp.key = e.sport_id WHERE e.key = %(key)s
), """
    + _PRICED
)

# A source that names no group says it by the first part of its key.
_GROUP = """coalesce(nullif(s."group", ''), CASE split_part(s.key, '_', 1)
    WHEN 'americanfootball' THEN 'American Football' WHEN 'icehockey' THEN 'Ice Hockey'
    WHEN 'football' THEN 'Soccer' ELSE initcap(split_part(s.key, '_', 1)) END)"""

_SPORTS = f"""
SELECT coalesce(json_agg(json_build_object('key', s.key, 'group', {_GROUP}, 'title', s.title,
    'description', s.title, 'active', s.active, 'has_outrights', s.has_outrights,
    'event_count', coalesce(c.events, 0), 'in_play_count', coalesce(c.in_play, 0))
    ORDER BY {_GROUP}, s.title), '[]'::json)::text
FROM odds_sport s LEFT JOIN (
    SELECT sport_id, count(*) AS events, count(*) FILTER (WHERE commence_time <= now()) AS in_play
    FROM odds_event WHERE commence_time > now() - make_interval(hours => %(in_play_h)s::int)
    GROUP BY sport_id
) c ON c.sport_id = s.key
WHERE s.active
"""


def board(sport: str, *, market: str, bookmakers: Sequence[str] = (), page: int = 1) -> bytes:
    """Return a `Board` as JSON: one page of a sport's coming and running events, soonest first.

    Each event has the one table of `market` with the most prices. With `bookmakers`, only theirs
    are there and count for the best. One query; unknown sports give an empty board.
    """
    return fetch_json(
        _statement(_BOARD, of_market="AND p.market = %(market)s", bookmakers=bookmakers),
        {
            "sport": sport,
            "market": market,
            "bookmakers": list(bookmakers),
            "tables": 1,
            "in_play_h": IN_PLAY_H,
            "offset": (page - 1) * PAGE_EVENTS,
        },
    )


def event(key: str, *, bookmakers: Sequence[str] = ()) -> bytes:
    """Return a `Board` of one event with all its markets, whenever it is; one query.

    `events` is empty when there is no such event.
    """
    return fetch_json(
        _statement(_EVENT, of_market="", bookmakers=bookmakers),
        {"key": key, "bookmakers": list(bookmakers), "tables": EVENT_TABLES},
    )


def sports() -> bytes:
    """Return all active sports as a JSON list of `SportRow`, with their events; one query."""
    return fetch_json(_SPORTS, {"in_play_h": IN_PLAY_H})


def bookmakers() -> dict[str, str]:
    """Return {key: title} of all active bookmakers, by title; one query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, title FROM odds_bookmaker WHERE active ORDER BY lower(title)")
        return dict(cursor.fetchall())


def near_events(key: str, *, limit: int = 3) -> list[str]:
    """Return ids that begin as `key` does, for the reader of a mistyped link; one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key FROM odds_event WHERE key LIKE %s ORDER BY key LIMIT %s",
            [_escape_like(key[:8]) + "%", limit],
        )
        return [row[0] for row in cursor.fetchall()]


def fetch_json(sql: str, parameters: Mapping[str, Any]) -> bytes:
    """Run a statement whose one cell is JSON text."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    text: str = row[0]
    return text.encode()


def _statement(sql: str, *, of_market: str, bookmakers: Sequence[str]) -> str:
    """Fill in the conditions that apply: four texts in all, so that each stays prepared."""
    return sql.format(
        of_market=of_market,
        of_bookmakers="AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else "",
        page_events=PAGE_EVENTS,
    )


def _escape_like(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
