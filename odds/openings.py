"""Opens, updates and closes opportunities as prices move. One row for as long as one lasts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from django.db import connection

from odds import screening
from odds.arbitrage import Arbitrage, find_arbitrage
from odds.books import Offer
from odds.conf import conf

PRICES = """
SELECT p.event_id, p.market, b.key, p.outcome, p.point, p.price, b.commission, b.is_exchange,
    coalesce(p.last_update, p.seen_at)
FROM odds_price p
JOIN unnest(%s::bigint[], %s::text[]) AS asked (event_id, market)
    ON p.event_id = asked.event_id AND p.market = asked.market
JOIN odds_bookmaker b ON b.id = p.bookmaker_id
WHERE b.active AND p.suspended_at IS NULL AND coalesce(p.last_update, p.seen_at) >= %s
"""

# A match of which only the day is known may be played at any hour of it.
EVENTS_TO_COME = """
SELECT id, key, sport_id, home_team, away_team FROM odds_event
WHERE id = ANY(%s::bigint[])
    AND commence_time + CASE WHEN date_only THEN interval '1 day' ELSE interval '0' END > %s
"""

OPEN = """
SELECT o.id, o.event_id, o.market, o.point, o.sum_inverse, o.legs::text, e.key, e.sport_id
FROM odds_opportunity o
JOIN odds_event e ON e.id = o.event_id
WHERE o.closed_at IS NULL AND o.event_id = ANY(%s::bigint[])
"""

WRITE = """
INSERT INTO odds_opportunity (
    event_id, market, point, sum_inverse, roi_pct, legs, suspect, needs_exchange, can_push,
    first_seen_at, last_seen_at
)
SELECT *, %s::timestamptz, %s::timestamptz FROM unnest(
    %s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::jsonb[],
    %s::text[], %s::boolean[], %s::boolean[]
)
ON CONFLICT (event_id, market, point) WHERE closed_at IS NULL DO UPDATE
SET sum_inverse = excluded.sum_inverse, roi_pct = excluded.roi_pct, legs = excluded.legs,
    suspect = excluded.suspect, needs_exchange = excluded.needs_exchange,
    can_push = excluded.can_push, last_seen_at = excluded.last_seen_at
RETURNING id, event_id, market, point
"""

CLOSE = """
UPDATE odds_opportunity SET closed_at = %s WHERE id = ANY(%s::bigint[]) AND closed_at IS NULL
"""

ALL_OPEN = """
SELECT e.id, e.key, array_agg(DISTINCT o.market)
FROM odds_opportunity o JOIN odds_event e ON e.id = o.event_id
WHERE o.closed_at IS NULL GROUP BY e.id ORDER BY e.key
"""

LOCK_EVENTS = (
    "SELECT id FROM odds_event WHERE id = ANY(%s::bigint[]) ORDER BY key FOR NO KEY UPDATE"
)

SUSPECT_LENGTH = 200
SIX_PLACES = Decimal("0.000001")
TWELVE_PLACES = Decimal("0.000000000001")

Place = tuple[int, str, Decimal | None]
"""Where an arbitrage stands: event, market, line."""


class Known(NamedTuple):
    """An opportunity that is open in the database."""

    id: int
    sum_inverse: Decimal
    legs: str
    event_key: str
    sport_key: str


class ToCome(NamedTuple):
    """An event that has not begun."""

    id: int
    key: str
    sport_key: str
    home: str
    away: str


@dataclass(slots=True)
class Moves:
    """What opened, changed and closed, as JSON-ready objects; falsy when nothing did."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.opened or self.changed or self.closed)

    def as_message(self) -> dict[str, Any]:
        return {"opened": self.opened, "changed": self.changed, "closed": self.closed}


def recompute(touched: Mapping[int, Iterable[str]], *, at: datetime) -> Moves:
    """Find the arbitrages of these events' markets (event id: markets) and store what they became.

    The caller's transaction has the events locked. Takes two statements when none of the events is
    to come, three to six otherwise, whatever their number; about 10 us of arithmetic a market, and
    more of the few that may hold an arbitrage.
    """
    if not touched:
        return Moves()
    ids = list(touched)
    with connection.cursor() as cursor:
        cursor.execute(EVENTS_TO_COME, [ids, at])
        events = {row[0]: ToCome(*row) for row in cursor.fetchall()}
        cursor.execute(OPEN, [ids])
        known = {
            (event, market, point): Known(id, total, legs, key, sport)
            for id, event, market, point, total, legs, key, sport in cursor.fetchall()
            if market in touched[event]
        }
        asked = [(event, market) for event in events for market in touched[event]]
        found = _find(cursor, asked, events, at) if asked else {}
        return _store(cursor, found, known, events, at)


def refresh(*, at: datetime) -> tuple[Moves, list[str]]:
    """Judge every open opportunity anew: prices have aged and events have begun meanwhile.

    Call it inside a transaction. Returns what moved and the cache tags of its events.
    """
    with connection.cursor() as cursor:
        cursor.execute(ALL_OPEN)
        rows = cursor.fetchall()
        cursor.execute(LOCK_EVENTS, [[event_id for event_id, _, _ in rows]])
    moves = recompute({event_id: markets for event_id, _, markets in rows}, at=at)
    told = {one["event"] for one in (*moves.opened, *moves.changed, *moves.closed)}
    return moves, sorted(f"event:{key}" for key in told)


def _find(
    cursor: Any, asked: list[tuple[int, str]], events: dict[int, ToCome], at: datetime
) -> dict[Place, tuple[Arbitrage, str]]:
    """Return each arbitrage with its legs as JSON."""
    oldest = at - timedelta(seconds=conf().max_price_age_s)
    asked = screening.possible(cursor, asked, oldest)
    if not asked:
        return {}
    cursor.execute(PRICES, [[one[0] for one in asked], [one[1] for one in asked], oldest])
    offers: dict[tuple[int, str], list[Offer]] = defaultdict(list)
    confirmed: dict[tuple[int, str, str, str, Decimal | None], datetime] = {}
    commission: dict[str, Decimal] = {}
    exchanges: set[str] = set()
    for event, market, bookmaker, outcome, point, price, rate, is_exchange, when in cursor:
        offers[event, market].append(Offer(bookmaker, outcome, point, price))
        confirmed[event, market, bookmaker, outcome, point] = when
        if rate:
            commission[bookmaker] = rate
        if is_exchange:
            exchanges.add(bookmaker)
    found: dict[Place, tuple[Arbitrage, str]] = {}
    for (event_id, market), those in offers.items():
        event = events[event_id]
        for arbitrage in find_arbitrage(
            market,
            those,
            home=event.home,
            away=event.away,
            sport_key=event.sport_key,
            commission=commission,
            exchanges=exchanges,
        ):
            place = (event_id, market, arbitrage.line)
            # Two- and three-way books may both be one; the better one, which comes first, is kept.
            found.setdefault(place, (arbitrage, _legs(arbitrage, place, confirmed)))
    return found


def _legs(arbitrage: Arbitrage, place: Place, confirmed: Mapping[Any, datetime]) -> str:
    event_id, market, _ = place
    legs = []
    for leg in arbitrage.legs:
        times = [
            when
            for bookmaker in leg.bookmakers
            if (when := confirmed.get((event_id, market, bookmaker, leg.outcome, leg.point)))
        ]
        legs.append(
            {
                "outcome": leg.outcome,
                "point": _plain(leg.point),
                "price": _plain(leg.price),
                "bookmakers": list(leg.bookmakers),
                "stake_pct": f"{float(leg.stake_pct):.6f}",
                "last_update": max(times).isoformat() if times else None,
            }
        )
    return json.dumps(legs)


def _plain(number: Any) -> str | None:
    return None if number is None else f"{Decimal(number).normalize():f}"


def _store(
    cursor: Any,
    found: dict[Place, tuple[Arbitrage, str]],
    known: dict[Place, Known],
    events: dict[int, ToCome],
    at: datetime,
) -> Moves:
    moves = Moves()
    gone = {place: one for place, one in known.items() if place not in found}
    if gone:
        cursor.execute(CLOSE, [at, [one.id for one in gone.values()]])
        moves.closed = [_told(one.id, one.event_key, one.sport_key, p) for p, one in gone.items()]
    if not found:
        return moves
    rows = [_row(place, *found[place]) for place in found]
    cursor.execute(WRITE, [at, at, *(list(column) for column in zip(*rows, strict=True))])
    for id, *where in cursor.fetchall():
        place = (where[0], where[1], where[2])
        arbitrage, legs = found[place]
        event = events[place[0]]
        before = known.get(place)
        if before is not None and not _differs(before, arbitrage, legs):
            continue
        told = _told(id, event.key, event.sport_key, place) | {
            "roi_pct": f"{float(arbitrage.roi_pct):.6f}",
            "suspect": arbitrage.suspect[:SUSPECT_LENGTH],
            "legs": json.loads(legs),
        }
        (moves.opened if before is None else moves.changed).append(told)
    return moves


def _differs(before: Known, arbitrage: Arbitrage, legs: str) -> bool:
    """Say whether what a person sees is another: confirming the same prices is no change."""

    def seen(text: str) -> Any:
        return [{**leg, "last_update": None} for leg in json.loads(text)]

    return before.sum_inverse != _rounded(arbitrage.sum_inverse, TWELVE_PLACES) or seen(
        before.legs
    ) != seen(legs)


def _row(place: Place, arbitrage: Arbitrage, legs: str) -> tuple[Any, ...]:
    return (
        *place,
        _rounded(arbitrage.sum_inverse, TWELVE_PLACES),
        min(_rounded(arbitrage.roi_pct, SIX_PLACES), Decimal(9999)),
        legs,
        arbitrage.suspect[:SUSPECT_LENGTH],
        arbitrage.needs_exchange,
        arbitrage.can_push,
    )


def _rounded(number: Fraction, places: Decimal) -> Decimal:
    return (Decimal(number.numerator) / Decimal(number.denominator)).quantize(places)


def _told(id: int, event_key: str, sport_key: str, place: Place) -> dict[str, Any]:
    return {
        "id": id,
        "event": event_key,
        "sport": sport_key,
        "market": place[1],
        "point": _plain(place[2]),
    }
