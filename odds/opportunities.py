"""The open arbitrages, as the list page and the API show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

import msgspec

from odds.compared import fetch_json

MAX_OPPORTUNITIES = 300


class ListedLeg(msgspec.Struct, frozen=True):
    outcome: str
    price: Decimal
    """As quoted, before an exchange's commission."""
    bookmakers: list[str]
    stake_pct: Decimal
    point: Decimal | None = None
    last_update: str | None = None
    """The provider's, ISO 8601 in UTC."""


class Listed(msgspec.Struct, frozen=True):
    id: int
    event_id: str
    sport_key: str
    sport_title: str
    commence_time: int
    home_team: str
    away_team: str
    market: str
    point: Decimal | None
    sum_inverse: Decimal
    roi_pct: Decimal
    legs: list[ListedLeg]
    suspect: str
    """Why it is probably an error; empty when nothing speaks for that."""
    needs_exchange: bool
    can_push: bool
    first_seen_at: float
    last_seen_at: float


class Quoter(msgspec.Struct, frozen=True):
    """A bookmaker that quotes a leg. `commission` is kept back from net winnings (0.05 is 5 %)."""

    title: str
    commission: Decimal


class Listing(msgspec.Struct, frozen=True):
    as_of: float
    bookmakers: dict[str, Quoter]
    """Every bookmaker of any leg, by its key."""
    opportunities: list[Listed]


_OPEN = f"""
WITH best AS MATERIALIZED (
    SELECT o.*, e.key AS event_key, e.sport_id, e.commence_time, e.home_team, e.away_team,
        sp.title AS sport_title
    FROM odds_opportunity o JOIN odds_event e ON e.id = o.event_id
    JOIN odds_sport sp ON sp.key = e.sport_id
    WHERE o.closed_at IS NULL ORDER BY o.roi_pct DESC LIMIT {MAX_OPPORTUNITIES}
)
SELECT json_build_object(
    'as_of', extract(epoch FROM now()),
    'bookmakers', coalesce((SELECT json_object_agg(b.key,
        json_build_object('title', b.title, 'commission', trim_scale(b.commission))
        ORDER BY lower(b.title))
        FROM odds_bookmaker b WHERE b.key IN (
            SELECT jsonb_array_elements_text(leg -> 'bookmakers')
            FROM best, jsonb_array_elements(best.legs) leg)), '{{}}'::json),
    'opportunities', coalesce((SELECT json_agg(json_build_object('id', id, 'event_id', event_key,
        'sport_key', sport_id, 'sport_title', sport_title,
        'commence_time', extract(epoch FROM commence_time)::bigint, 'home_team', home_team,
        'away_team', away_team, 'market', market, 'point', trim_scale(point),
        'sum_inverse', trim_scale(sum_inverse), 'roi_pct', trim_scale(roi_pct), 'legs', legs,
        'suspect', suspect, 'needs_exchange', needs_exchange, 'can_push', can_push,
        'first_seen_at', extract(epoch FROM first_seen_at),
        'last_seen_at', extract(epoch FROM last_seen_at)) ORDER BY roi_pct DESC, id)
        FROM best), '[]'::json)
)::text
"""


def opportunities() -> bytes:
    """Return the open arbitrages as the JSON of a `Listing`, highest return first; one query."""
    return fetch_json(_OPEN, {})


def choose(
    listed: Iterable[Listed],
    *,
    sport: str | None = None,
    bookmakers: Collection[str] = (),
    min_roi: Decimal = Decimal(0),
    hide_suspect: bool = False,
) -> list[Listed]:
    """Return those that fit. With `bookmakers`, every leg must be available at one of them."""
    mine = set(bookmakers)
    return [
        one
        for one in listed
        if (sport is None or one.sport_key == sport)
        and one.roi_pct >= min_roi
        and not (hide_suspect and one.suspect)
        and (not mine or all(mine.intersection(leg.bookmakers) for leg in one.legs))
    ]
