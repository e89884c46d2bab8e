"""The sheet of a market of an event: its prices as the JSON that readers take, written with them.

A board reads forty rows and not fifteen hundred prices, which it would have to group. Whoever
writes prices writes their sheets anew in the same transaction (`keep`), its events locked; so they
are right wherever it is killed. A market without a sheet is read from its prices, which gives the
same text: those of events that are over, whose sheets nobody would read, are not kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

IN_PLAY_H = 4
"""No source says when a match ends, so it leaves the boards this long after its start."""


def _lines(event: str, market: str) -> str:
    """SQL: the lines of a market as JSON, of a WITH query's `books`; NULL where it has no price.

    Each price becomes text in one pass. json_build_array looks up the type of each argument of each
    row anew, concat_ws once; what is not a number is quoted once a bookmaker and once a line. One
    market at a time, since sorting all of a batch's together costs half as much again.
    """
    return f"""(
    SELECT string_agg(concat('[', to_json({market}), ',', to_json(l.outcome), ',',
        coalesce(trim_scale(l.point)::text, 'null'), ',[', l.offers, ']]'), ',')
    FROM (
        SELECT p.outcome, p.point, string_agg(concat_ws(',', b.opened, p.id, trim_scale(p.price),
            floor(date_part('epoch', coalesce(p.last_update, p.seen_at))),
            concat(floor(date_part('epoch', p.changed_at)),
                CASE WHEN p.suspended_at IS NULL THEN ']' ELSE ',true]' END)), ',') AS offers
        FROM odds_price p JOIN books b ON b.id = p.bookmaker_id
        WHERE p.event_id = {event} AND p.market = {market}
        GROUP BY p.outcome, p.point
    ) l
)"""


_BOOKS = """
books AS MATERIALIZED (SELECT id, '[' || to_json(key)::text AS opened FROM odds_bookmaker)"""

_KEEP = f"""
WITH {_BOOKS}
INSERT INTO odds_sheet (event_id, market, revision, lines)
SELECT * FROM (
    SELECT asked.event_id, asked.market, e.revision, {_lines("asked.event_id", "asked.market")}
    FROM unnest(%s::bigint[], %s::text[]) AS asked (event_id, market)
    JOIN odds_event e ON e.id = asked.event_id
) AS sheet (event_id, market, revision, lines)
WHERE lines IS NOT NULL
ON CONFLICT (event_id, market) DO UPDATE SET revision = excluded.revision, lines = excluded.lines
"""

_DROP = "DELETE FROM odds_sheet WHERE event_id = ANY(%s::bigint[])"

# Skips what a batch holds: it locks events first and sheets after, and this would be the other way.
_FORGET = """
DELETE FROM odds_sheet WHERE (event_id, market) IN (
    SELECT s.event_id, s.market FROM odds_sheet s LEFT JOIN odds_event e ON e.id = s.event_id
    WHERE coalesce(e.commence_time <= %s, true) FOR UPDATE OF s SKIP LOCKED)
"""

LISTED = """
SELECT e.id, e.revision, e.key, e.sport_id, e.commence_time, e.date_only, e.home_team,
    e.away_team, e.first_seen_at, e.markets
FROM odds_event e
"""
"""The columns that `reading` wants of the events that an answer is of."""


class Markets(NamedTuple):
    """Which markets of the events are read, as the parts of the statement that differ."""

    shown: str
    lines: str


def _several(condition: str) -> Markets:
    sheet = "SELECT t.lines FROM odds_sheet t WHERE t.event_id = c.id AND t.market = m.market"
    return Markets(
        "SELECT l.*, l.revision AS newest FROM listed l",
        f"""(SELECT string_agg(coalesce(({sheet}), {_lines("c.id", "m.market")}), ',')
            FROM unnest(c.markets) m (market) {condition})""",
    )


ALL_MARKETS = _several("")
THESE_MARKETS = _several("WHERE m.market = ANY(%(markets)s::text[])")
# A sheet has a revision of its own, so that a move in another market makes nobody read it anew.
# Where it is missing the event's stands for it, which is never older. Only for one market: of a
# list of hundreds of events, looking for the newest of several costs more than it spares.
ONE_MARKET = Markets(
    """SELECT l.*, coalesce(t.revision, l.revision) AS newest, t.lines
    FROM listed l LEFT JOIN odds_sheet t ON t.event_id = l.id AND t.market = %(market)s""",
    f"coalesce(c.lines, {_lines('c.id', '%(market)s')})",
)
"""For `listed` whose events all have it."""


def reading(listed: str, *, markets: Markets, of_bookmakers: bool) -> str:
    """Return the statement that reads the events of `listed` for `compared.Read`.

    `listed` selects the columns of `LISTED`, `markets` is one of the three above. Parameters:
    known_ids and known_revisions, what is held already; most, of the others so many are read,
    soonest first; market, markets and bookmakers where they are asked for.

    Conditions that do not apply are left out of the text: of `parameter IS NULL OR …` a generic
    plan makes no index condition. Nor does it know how many events there are: each is taken to its
    text by itself, and nothing is joined that could be joined anew for each.
    """
    books = "AND key = ANY(%(bookmakers)s::text[])" if of_bookmakers else ""
    return f"""
WITH {_BOOKS}, listed AS MATERIALIZED ({listed}
), shown AS MATERIALIZED ({markets.shown}
), marked AS (
    SELECT s.*, (s.id, s.newest) IN (
        SELECT * FROM unnest(%(known_ids)s::bigint[], %(known_revisions)s::bigint[])) AS known
    FROM shown s
), counted AS (
    SELECT m.*, count(*) FILTER (WHERE NOT known) OVER (ORDER BY commence_time, key) AS place
    FROM marked m
)
SELECT concat('{{"as_of":', date_part('epoch', now()), ',"names":{{"bookmakers":',
    coalesce((SELECT json_object_agg(key, title ORDER BY lower(title)) FROM odds_bookmaker
        WHERE active {books})::text, '{{}}'),
    ',"sports":', coalesce((SELECT json_object_agg(key, title ORDER BY key) FROM odds_sport
        WHERE key IN (SELECT sport_id FROM listed))::text, '{{}}'),
    '}},"events":[', (SELECT string_agg(concat('[', c.id, ',', c.newest,
        CASE WHEN NOT c.known AND c.place <= %(most)s::int THEN concat(
            ',{{"id":', to_json(c.key), ',"sport_key":', to_json(c.sport_id),
            ',"commence_time":', date_part('epoch', c.commence_time)::bigint,
            ',"date_only":', to_json(c.date_only), ',"home_team":', to_json(c.home_team),
            ',"away_team":', to_json(c.away_team),
            ',"first_seen_at":', date_part('epoch', c.first_seen_at), ',"lines":[',
            {markets.lines}, ']}}')
        END, ']'), ',' ORDER BY c.commence_time, c.key)
        FROM counted c
    ), ']}}')
"""


def keep(cursor: Any, markets: Iterable[tuple[int, str]], *, over: Collection[int] = ()) -> None:
    """Write the sheets of these (event id, market) anew; drop those of events that are `over`.

    The caller's transaction has the events locked and their prices written, by other statements.
    At most two statements; about 3 us a price of these markets in PostgreSQL.
    """
    asked = sorted(set(markets))
    if asked:
        cursor.execute(_KEEP, [[one[0] for one in asked], [one[1] for one in asked]])
    if over:
        cursor.execute(_DROP, [sorted(over)])


def is_over(commence_time: datetime, *, at: datetime) -> bool:
    """Say whether an event has left the boards, so that nobody lists it."""
    return commence_time <= at - timedelta(hours=IN_PLAY_H)


def forget(cursor: Any, *, at: datetime) -> int:
    """Delete the sheets of events that are over or gone; returns how many. Run twice is right."""
    cursor.execute(_FORGET, [at - timedelta(hours=IN_PLAY_H)])
    dropped: int = cursor.rowcount
    return dropped
