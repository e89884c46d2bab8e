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


# Partitions are read from the newest back and only until the limit. Text, for the reason that
# `boards` gives; a moment is a float of seconds, cut to milliseconds.
_HISTORY = f"""
WITH newest AS MATERIALIZED (
    SELECT c.price_id, c.recorded_at, c.price FROM odds_pricechange c
    WHERE c.event_id = (SELECT id FROM odds_event WHERE key = %(key)s) BETWEEN_TIMES
    ORDER BY c.recorded_at DESC LIMIT {MAX_CHANGES}
), counted AS (
    SELECT price_id, recorded_at, price,
        row_number() OVER (PARTITION BY price_id ORDER BY recorded_at DESC) AS place
    FROM newest
), series AS (
    SELECT price_id, string_agg(concat('[',
        date_part('epoch', date_trunc('milliseconds', recorded_at)), ',',
        coalesce(trim_scale(price)::text, 'null'), ']'), ',' ORDER BY recorded_at) AS changes
    FROM counted WHERE place <= {MAX_POINTS} GROUP BY price_id
)
SELECT concat('[', string_agg(concat('{{"market":', to_json(p.market), ',"outcome":',
    to_json(p.outcome), ',"point":', coalesce(trim_scale(p.point)::text, 'null'), ',"bookmaker":',
    to_json(b.key), ',"price_id":', p.id, ',"changes":[', s.changes, ']}}'), ','
    ORDER BY p.market, p.point NULLS FIRST, p.outcome, lower(b.title)), ']')
FROM series s JOIN odds_price p ON p.id = s.price_id
JOIN odds_bookmaker b ON b.id = p.bookmaker_id AND b.active
"""


_WHOLE = _HISTORY.replace("BETWEEN_TIMES", "")
_BETWEEN = _HISTORY.replace(
    "BETWEEN_TIMES",
    "AND c.recorded_at BETWEEN to_timestamp(%(since_s)s) AND to_timestamp(%(until_s)s)",
)


def history(key: str, times_s: tuple[float, float] | None = None) -> bytes:
    """Return the event's `Series` as a JSON list; one query, at most 4,000 changes read.

    With `times_s`, the first and last second (Unix epoch) at which anything of the event was
    recorded, only those days' partitions are opened; opening all of 400 costs 6 ms.
    """
    if times_s is None:
        return fetch_json(_WHOLE, {"key": key}, may_be_late=True)
    times = {"since_s": times_s[0], "until_s": times_s[1]}
    return fetch_json(_BETWEEN, {"key": key, **times}, may_be_late=True)
