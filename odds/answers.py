"""The API's answer in the shape of The Odds API v4, built by PostgreSQL: one statement, bytes out.

Its clients may point at us without a change. Where its own answers differ between their years, the
newer form is given (`last_update` at bookmakers and at markets).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from odds.boards import IN_PLAY_H, fetch_json

MAX_EVENTS = 500
UPCOMING = "upcoming"
UPCOMING_EVENTS = 8
"""The Odds API's `upcoming`: what is in play, and the next eight of all sports."""

_TIME = {
    "iso": """to_char({0} AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS"Z\\""')""",
    "unix": "date_part('epoch', {0})::bigint",
}
_PRICE = {
    "decimal": "trim_scale(p.price)",
    "american": "CASE WHEN p.price >= 2 THEN round((p.price - 1) * 100)"
    " ELSE round(-100 / (p.price - 1)) END::int",
}
_SPORT = "e.sport_id = %(sport)s"
_UPCOMING = f"""e.sport_id IN (SELECT key FROM odds_sport WHERE active) AND e.id IN (
    (SELECT id FROM odds_event WHERE commence_time > now() ORDER BY commence_time, key
        LIMIT {UPCOMING_EVENTS})
    UNION ALL SELECT id FROM odds_event WHERE commence_time <= now()
        AND commence_time > now() - make_interval(hours => {IN_PLAY_H}))"""

# As in `boards`, each price becomes text once: concat looks the types up once a statement, and the
# JSON functions for each row; so an outcome's name, whose characters ingest has found printable, is
# quoted by hand. `ordered` is sorted once by one number (point, then home, away, others by price),
# and string_agg keeps the order of its input.
_ODDS = r"""
WITH shown AS MATERIALIZED (
    SELECT e.id, e.key, e.sport_id, e.commence_time, e.home_team, e.away_team
    FROM odds_event e
    WHERE {which} {since} {between}
    ORDER BY e.commence_time, e.key LIMIT {limit}
), books AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY lower(title)) AS rank,
        concat('{{"key":', to_json(key), ',"title":', to_json(title), ',"last_update":') AS opened
    FROM odds_bookmaker b WHERE active {of_bookmakers}
), ordered AS (
    SELECT p.event_id, b.rank, p.market, coalesce(p.last_update, p.seen_at) AS last_update,
        p.outcome, {price} AS price, p.point
    FROM shown s JOIN odds_price p ON p.event_id = s.id {of_markets}
    JOIN books b ON b.id = p.bookmaker_id
    WHERE p.suspended_at IS NULL
    ORDER BY coalesce(p.point * 10, -1e6)::float8 + CASE p.outcome
        WHEN s.home_team THEN 0 WHEN 'Over' THEN 0 WHEN s.away_team THEN 1
        WHEN 'Under' THEN 1 ELSE 2 + p.price::float8 / 1e6 END
), markets AS (
    SELECT event_id, rank, market, max(last_update) AS last_update,
        string_agg(concat('{{"name":"', replace(replace(outcome, '\', '\\'), '"', '\"'),
            '","price":', price, CASE WHEN point IS NOT NULL THEN ',"point":' END,
            trim_scale(point), '}}'), ',') AS outcomes
    FROM ordered GROUP BY event_id, rank, market
), quoting AS (
    SELECT event_id, rank, max(last_update) AS last_update,
        string_agg(concat('{{"key":"', market, '","last_update":', {market_time},
            ',"outcomes":[', outcomes, ']}}'), ',' ORDER BY market) AS markets
    FROM markets GROUP BY event_id, rank
), quoted AS (
    SELECT q.event_id, string_agg(concat(b.opened, {book_time}, ',"markets":[', q.markets, ']}}'),
        ',' ORDER BY q.rank) AS bookmakers
    FROM quoting q JOIN books b USING (rank) GROUP BY q.event_id
)
SELECT concat('[', string_agg(concat('{{"id":', to_json(s.key),
    ',"sport_key":', to_json(s.sport_id), ',"sport_title":', to_json(sp.title),
    ',"commence_time":', {commence_time},
    ',"home_team":', coalesce(to_json(nullif(s.home_team, ''))::text, 'null'),
    ',"away_team":', coalesce(to_json(nullif(s.away_team, ''))::text, 'null'),
    ',"bookmakers":[', q.bookmakers, ']}}'), ',' ORDER BY s.commence_time, s.key), ']')
FROM shown s JOIN odds_sport sp ON sp.key = s.sport_id {join} quoted q ON q.event_id = s.id
"""


def event_odds(key: str, *, bookmakers: Sequence[str] = ()) -> bytes:
    """Return a JSON list with the event and all its markets in v4's shape; empty if unknown.

    One query. Decimal odds and ISO times.
    """
    time = _TIME["iso"]
    statement = _ODDS.format(
        which="e.key = %(key)s",
        since="",
        between="",
        price=_PRICE["decimal"],
        of_markets="",
        join="LEFT JOIN",
        of_bookmakers="AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else "",
        book_time=time.format("q.last_update"),
        market_time=time.format("last_update"),
        commence_time=time.format("s.commence_time"),
        limit=1,
    )
    return fetch_json(statement, {"key": key, "bookmakers": list(bookmakers)})


def odds(
    sport: str,
    *,
    markets: Sequence[str] = ("h2h",),
    bookmakers: Sequence[str] = (),
    odds_format: Literal["decimal", "american"] = "decimal",
    date_format: Literal["iso", "unix"] = "iso",
    commence_from: datetime | None = None,
    commence_to: datetime | None = None,
) -> bytes:
    """Return the coming and running events of `sport` as v4 JSON; one query.

    Events without a price in `markets` are left out, as there, and so are prices that a source no
    longer offers. `upcoming` stands for all sports; the times have no effect there. At most 500
    events, soonest first. Exchanges' lay prices come with the market that they belong to.
    """
    with_lay = set(markets) | {f"{one}_lay" for one in markets if one in ("h2h", "outrights")}
    between = ""
    if commence_from is not None and sport != UPCOMING:
        between += " AND e.commence_time >= %(commence_from)s"
    if commence_to is not None and sport != UPCOMING:
        between += " AND e.commence_time <= %(commence_to)s"
    time = _TIME[date_format]
    statement = _ODDS.format(
        which=_UPCOMING if sport == UPCOMING else _SPORT,
        since=f"AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H})",
        of_markets="AND p.market = ANY(%(markets)s::text[])",
        join="JOIN",
        between=between,
        price=_PRICE[odds_format],
        of_bookmakers="AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else "",
        book_time=time.format("q.last_update"),
        market_time=time.format("last_update"),
        commence_time=time.format("s.commence_time"),
        limit=MAX_EVENTS,
    )
    return fetch_json(
        statement,
        {
            "sport": sport,
            "markets": sorted(with_lay),
            "bookmakers": list(bookmakers),
            "commence_from": commence_from,
            "commence_to": commence_to,
        },
    )
