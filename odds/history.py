"""How the prices of one event moved, bounded, for its chart and for the API."""

from __future__ import annotations

import msgspec

from odds.boards import fetch_json

MAX_CHANGES = 4_000
"""The newest changes of an event that are looked at, of all its prices together."""
MAX_POINTS = 120
"""The newest points of one price."""


class Series(msgspec.Struct, frozen=True):
    """One bookmaker's price for one outcome over time, oldest first."""

    market: str
    outcome: str
    point: float | None
    bookmaker: str
    price_id: int
    changes: list[tuple[float, float | None]]
    """(seconds of the Unix epoch, decimal odds); None: no longer offered from then on."""


_HISTORY = f"""
WITH newest AS MATERIALIZED (
    SELECT c.price_id, c.recorded_at, c.price FROM odds_pricechange c
    WHERE c.event_id = (SELECT id FROM odds_event WHERE key = %(key)s)
    ORDER BY c.recorded_at DESC LIMIT {MAX_CHANGES}
), counted AS (
    SELECT price_id, recorded_at, price,
        row_number() OVER (PARTITION BY price_id ORDER BY recorded_at DESC) AS place
    FROM newest
), series AS (
    SELECT price_id, json_agg(json_build_array(round(extract(epoch FROM recorded_at), 3),
        trim_scale(price)) ORDER BY recorded_at) AS changes
    FROM counted WHERE place <= {MAX_POINTS} GROUP BY price_id
)
SELECT coalesce(json_agg(json_build_object('market', p.market, 'outcome', p.outcome,
    'point', trim_scale(p.point), 'bookmaker', b.key, 'price_id', p.id, 'changes', s.changes)
    ORDER BY p.market, p.point NULLS FIRST, p.outcome, lower(b.title)), '[]'::json)::text
FROM series s JOIN odds_price p ON p.id = s.price_id
JOIN odds_bookmaker b ON b.id = p.bookmaker_id AND b.active
"""


def history(key: str) -> bytes:
    """Return the event's `Series` as a JSON list; one query, at most 4,000 changes read."""
    return fetch_json(_HISTORY, {"key": key})
