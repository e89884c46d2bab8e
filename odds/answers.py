"""The API's answer in the shape of The Odds API v4, built by PostgreSQL: one statement, bytes out.

Its clients may point at us without a change. Where its own answers differ between their years, the
newer form is given (`last_update` at bookmakers and at markets).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from odds.boards import IN_PLAY_H
from odds.compared import fetch_json
from odds.held import Held, Kept, Known

MAX_EVENTS = 500
UPCOMING = "upcoming"
UPCOMING_EVENTS = 8
"""The Odds API's `upcoming`: what is in play, and the next eight of all sports."""
UPCOMING_IN_PLAY = 92
"""Of those in play, the ones that began last: so `upcoming` has at most a hundred events."""
EVENTS_A_STATEMENT = 25
"""What is not held is read in parts of this many events, so that none takes the server long."""
HELD_BYTES = 16_000_000
"""Events as JSON that a process keeps."""

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
    UNION ALL (SELECT id FROM odds_event WHERE commence_time <= now()
        AND commence_time > now() - make_interval(hours => {IN_PLAY_H})
        ORDER BY commence_time DESC, key LIMIT {UPCOMING_IN_PLAY}))"""
_PRICED = """
    AND EXISTS (SELECT FROM odds_price p JOIN odds_bookmaker b ON b.id = p.bookmaker_id
        WHERE p.event_id = e.id AND p.market = ANY(%(markets)s::text[])
            AND p.suspended_at IS NULL AND b.active {of_bookmakers})"""
_AFTER = """
    AND (e.commence_time, e.key) > (SELECT commence_time, key FROM odds_event
        WHERE key = %(after)s)"""

# As in `boards`, each price becomes text once: concat looks the types up once a statement, and the
# JSON functions for each row; so an outcome's name, whose characters ingest has found printable, is
# quoted by hand. Outcomes are sorted by one number: point, then home, away, others by price.
_ODDS = r"""
WITH shown AS MATERIALIZED (
    SELECT e.id, e.revision, e.key, e.sport_id, e.commence_time, e.home_team, e.away_team
    FROM odds_event e
    WHERE {which} {since} {between}
    ORDER BY e.commence_time, e.key LIMIT %(limit)s::int
), fresh AS MATERIALIZED (
    SELECT s.*, sp.title AS sport_title FROM shown s JOIN odds_sport sp ON sp.key = s.sport_id
    WHERE (s.id, s.revision) NOT IN (
        SELECT * FROM unnest(%(known_ids)s::bigint[], %(known_revisions)s::bigint[]))
    ORDER BY s.commence_time, s.key LIMIT %(most)s::int
), books AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY lower(title)) AS rank,
        concat('{{"key":', to_json(key), ',"title":', to_json(title), ',"last_update":') AS opened
    FROM odds_bookmaker b WHERE active {of_bookmakers}
), markets AS (
    SELECT p.event_id, b.rank, p.market, max(coalesce(p.last_update, p.seen_at)) AS last_update,
        string_agg(concat('{{"name":"', replace(replace(p.outcome, '\', '\\'), '"', '\"'),
            '","price":', {price}, CASE WHEN p.point IS NOT NULL THEN ',"point":' END,
            trim_scale(p.point), '}}'), ',' ORDER BY p.point NULLS FIRST, CASE p.outcome
                WHEN s.home_team THEN 0 WHEN 'Over' THEN 0 WHEN s.away_team THEN 1
                WHEN 'Under' THEN 1 ELSE 2 END, p.price) AS outcomes
    FROM fresh s JOIN odds_price p ON p.event_id = s.id {of_markets}
    JOIN books b ON b.id = p.bookmaker_id
    WHERE p.suspended_at IS NULL
    GROUP BY p.event_id, b.rank, p.market
), quoting AS (
    SELECT event_id, rank, max(last_update) AS last_update,
        string_agg(concat('{{"key":"', market, '","last_update":', {market_time},
            ',"outcomes":[', outcomes, ']}}'), ',' ORDER BY market) AS markets
    FROM markets GROUP BY event_id, rank
), quoted AS (
    SELECT q.event_id, string_agg(concat(b.opened, {book_time}, ',"markets":[', q.markets, ']}}'),
        ',' ORDER BY q.rank) AS bookmakers
    FROM quoting q JOIN books b USING (rank) GROUP BY q.event_id
), bodies AS (
    SELECT s.id, CASE WHEN q.event_id IS NULL AND {only_priced} THEN ',0'
        ELSE concat(',{{"id":', to_json(s.key),
            ',"sport_key":', to_json(s.sport_id), ',"sport_title":', to_json(s.sport_title),
            ',"commence_time":', {commence_time},
            ',"home_team":', coalesce(to_json(nullif(s.home_team, ''))::text, 'null'),
            ',"away_team":', coalesce(to_json(nullif(s.away_team, ''))::text, 'null'),
            ',"bookmakers":[', q.bookmakers, ']}}')
        END AS body
    FROM fresh s LEFT JOIN quoted q ON q.event_id = s.id
)
SELECT concat('{{"names":[',
    (SELECT coalesce(json_agg(opened ORDER BY rank), '[]') FROM books), ',',
    (SELECT coalesce(json_agg(title ORDER BY key), '[]') FROM odds_sport
        WHERE key IN (SELECT DISTINCT sport_id FROM shown)),
    '],"events":[', (
        SELECT string_agg(concat('[', s.id, ',', s.revision, b.body, ']'), ','
            ORDER BY s.commence_time, s.key)
        FROM shown s LEFT JOIN bodies b ON b.id = s.id
    ), ']}}')
"""


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    number: int
    revision: int
    body: msgspec.Raw = msgspec.Raw(b"")
    """The event as JSON, or 0 when nothing of it is on offer; empty: not sent."""


class _Read(msgspec.Struct, frozen=True, gc=False):
    names: msgspec.Raw
    events: list[_Row]


_decode = msgspec.json.Decoder(_Read).decode
held: Held[bytes] = Held(HELD_BYTES)
_NOT_OFFERED = b"0"
_PARTS = (*[EVENTS_A_STATEMENT] * (MAX_EVENTS // EVENTS_A_STATEMENT + 2), MAX_EVENTS)


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
        only_priced="false",
        of_bookmakers="AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else "",
        book_time=time.format("q.last_update"),
        market_time=time.format("last_update"),
        commence_time=time.format("s.commence_time"),
    )
    parameters = {"key": key, "bookmakers": list(bookmakers), "limit": 1}
    return _answer(("event", key, tuple(bookmakers)), statement, parameters)


def odds(
    sport: str,
    *,
    markets: Sequence[str] = ("h2h",),
    bookmakers: Sequence[str] = (),
    odds_format: Literal["decimal", "american"] = "decimal",
    date_format: Literal["iso", "unix"] = "iso",
    commence_from: datetime | None = None,
    commence_to: datetime | None = None,
    after: str | None = None,
    limit: int = MAX_EVENTS,
) -> bytes:
    """Return the coming and running events of `sport` as v4 JSON; one query, see `_answer`.

    Events without a price in `markets` are left out, as there, and so are prices that a source no
    longer offers. `upcoming` stands for all sports; the times have no effect there. At most `limit`
    events, soonest first, of those that come after the event with the id `after`. Exchanges' lay
    prices come with the market that they belong to.
    """
    with_lay = set(markets) | {f"{one}_lay" for one in markets if one in ("h2h", "outrights")}
    asked = {
        "sport": sport,
        "markets": sorted(with_lay),
        "bookmakers": list(bookmakers),
        "commence_from": commence_from,
        "commence_to": commence_to,
        "after": after,
        "limit": limit,
    }
    of_bookmakers = "AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else ""
    between = ""
    if after is not None:
        between += _AFTER
    if limit < MAX_EVENTS:
        between += _PRICED.format(of_bookmakers=of_bookmakers)
    if commence_from is not None and sport != UPCOMING:
        between += " AND e.commence_time >= %(commence_from)s"
    if commence_to is not None and sport != UPCOMING:
        between += " AND e.commence_time <= %(commence_to)s"
    time = _TIME[date_format]
    statement = _ODDS.format(
        which=_UPCOMING if sport == UPCOMING else _SPORT,
        since=f"AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H})",
        of_markets="AND p.market = ANY(%(markets)s::text[])",
        only_priced="true",
        between=between,
        price=_PRICE[odds_format],
        of_bookmakers=of_bookmakers,
        book_time=time.format("q.last_update"),
        market_time=time.format("last_update"),
        commence_time=time.format("s.commence_time"),
    )
    return _answer(
        ("odds", *((name, str(value)) for name, value in asked.items()), odds_format, date_format),
        statement,
        asked,
    )


def _answer(asked: Hashable, sql: str, parameters: Mapping[str, Any]) -> bytes:
    """Return all events of the list as JSON: what is held, and the others read in parts.

    One statement where at most `EVENTS_A_STATEMENT` have moved since it was asked last. The list
    is that of the last statement, and each event stands in it as that statement's snapshot has it.
    """
    known = held.get(asked)
    for most in _PARTS:
        if most == MAX_EVENTS:  # they move faster than parts are read: all of it in one snapshot
            known = Known(b"", {})
        found = _decode(fetch_json(sql, {**parameters, "most": most, **known.as_parameters()}))
        names = bytes(found.names)
        same = known.events if names == known.names else {}  # else a title or who is active changed
        known = Known(names, dict(_parts(found.events, same)))
        if len(known.events) == len(found.events):
            break
    bodies = [kept.part for kept in known.events.values()]
    held.keep(asked, known, sum(map(len, bodies)))
    return b"[" + b",".join(body for body in bodies if body != _NOT_OFFERED) + b"]"


def _parts(
    rows: Sequence[_Row], known: Mapping[int, Kept[bytes]]
) -> Iterator[tuple[int, Kept[bytes]]]:
    for row in rows:
        if body := bytes(row.body):  # a copy: Raw would keep the whole answer alive
            yield row.number, Kept(row.revision, body)
        elif (mine := known.get(row.number)) is not None and mine.revision == row.revision:
            yield row.number, mine
