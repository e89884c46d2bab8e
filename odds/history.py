"""How the prices of one event moved, bounded, for its chart and for the API.

What was recorded on days that are over never changes again, so it is read once and kept; a miss
reads the running day alone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from odds.compared import fetch_json
from odds.comparing import Line
from odds.partitions import SETTLED_S

MAX_CHANGES = 4_000
"""The newest changes of an event, in the asked time, that are looked at: of all prices together."""
MAX_POINTS = 120
"""The newest points of one price."""
DAY_S = 86_400


class Series(msgspec.Struct, frozen=True):
    """One bookmaker's price for one outcome over time, oldest first."""

    market: str
    outcome: str
    point: float | None
    bookmaker: str
    price_id: int
    changes: list[tuple[float, float | None]]
    """(seconds of the Unix epoch, decimal odds); None: no longer offered from then on."""


class Move(msgspec.Struct, array_like=True, frozen=True, gc=False):
    price_id: int
    at_ms: int
    price: float | None


_decode = msgspec.json.Decoder(list[Move]).decode

# Partitions are read from the newest back and only until the limit. Text, for the reason that
# `boards` gives.
_MOVES = f"""
SELECT concat('[', string_agg(concat('[', price_id, ',',
    (date_part('epoch', recorded_at) * 1000)::bigint, ',',
    coalesce(trim_scale(price)::text, 'null'), ']'), ','), ']')
FROM (
    SELECT c.price_id, c.recorded_at, c.price FROM odds_pricechange c
    WHERE c.event_id = (SELECT id FROM odds_event WHERE key = %(key)s)
        AND c.recorded_at >= to_timestamp(%(since_s)s)
        {{until}}
    ORDER BY c.recorded_at DESC LIMIT {MAX_CHANGES}
) newest
"""


# Two bounds look to the planner like half a percent of all changes, however long the time is.
_SINCE = _MOVES.format(until="")
_BETWEEN = _MOVES.format(until="AND c.recorded_at < to_timestamp(%(until_s)s)")


def moves(key: str, since_s: float, until_s: float | None = None) -> bytes:
    """Return the event's `Move`s of that time as a JSON list, newest first; one query.

    Only the partitions of those days are opened; opening all of 400 costs 6 ms.
    """
    given: dict[str, object] = {"key": key, "since_s": float(since_s)}
    if until_s is None:
        return fetch_json(_SINCE, given, may_be_late=True)
    return fetch_json(_BETWEEN, {**given, "until_s": float(until_s)}, may_be_late=True)


def settled_until_s(now_s: float | None = None) -> int:
    """Return the second before which nothing is recorded any more: the begin of a day of UTC."""
    now_s = time.time() if now_s is None else now_s
    return int(now_s - SETTLED_S) // DAY_S * DAY_S


def series(
    lines: Iterable[Line], newer: bytes, older: bytes, titles: Mapping[str, str]
) -> list[Series]:
    """Return the history of each price in `lines` that ever moved: of `moves` in two parts.

    By market, line, outcome and the bookmaker's title.
    """
    changes: dict[int, list[tuple[float, float | None]]] = defaultdict(list)
    for part in (newer, older):
        for move in _decode(part):
            changes[move.price_id].append((move.at_ms / 1000, move.price))
    found = [
        Series(
            market=line.market,
            outcome=line.outcome,
            point=line.point,
            bookmaker=offer.bookmaker,
            price_id=offer.price_id,
            changes=changes[offer.price_id][MAX_POINTS - 1 :: -1],
        )
        for line in lines
        for offer in line.offers
        if offer.price_id in changes
    ]
    return sorted(
        found,
        key=lambda one: (
            one.market,
            one.point is not None,
            one.point or 0.0,
            one.outcome,
            titles.get(one.bookmaker, one.bookmaker).lower(),
        ),
    )
