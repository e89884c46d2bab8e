"""Which markets may hold an arbitrage at all: a cheap look before the exact one.

Most have none. Reading every price of each market that moved as a Decimal with its time costs a
node fifty times what this costs: one text, decoded at once, floats. It only ever leaves out markets
whose best prices, before any commission, cannot cover all outcomes for less than is staked; what is
near the line is left to the exact arithmetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from odds import comparing
from odds.books import reader_of
from odds.quotes import DRAW

NEAR = 1 + 1e-6
"""Sums of inverses up to here are looked at exactly: floats are off by far less."""

_SHEETS = """
SELECT concat('[', (SELECT coalesce(json_agg(key), '[]') FROM odds_bookmaker WHERE active),
    ',[', string_agg(concat('[', s.event_id, ',[', s.lines, ']]'), ','), ']]')
FROM odds_sheet s JOIN unnest(%s::bigint[], %s::text[]) AS asked (event_id, market)
    ON s.event_id = asked.event_id AND s.market = asked.market
"""


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    event_id: int
    market: str
    outcome: str
    distance: float | None
    """The point without its sign: home -0.5 and away +0.5 stand against each other."""
    offers: list[tuple[str, float]]
    """(bookmaker, price)"""


_decode = msgspec.json.Decoder(tuple[list[str], list[tuple[int, list[comparing.Line]]]]).decode


def possible(cursor: Any, asked: list[tuple[int, str]], oldest: datetime) -> list[tuple[int, str]]:
    """Return those of the (event, market) that must be looked at exactly; one query.

    Those too of which there is no sheet to look at.
    """
    cursor.execute(_SHEETS, [[one[0] for one in asked], [one[1] for one in asked]])
    active, found = _decode(cursor.fetchone()[0])
    books, oldest_s = frozenset(active), int(oldest.timestamp())
    seen: set[tuple[int, str]] = set()
    near = []
    for event_id, lines in found:
        place = (event_id, lines[0].market)
        seen.add(place)
        if may_hold(place[1], [_on_offer(event_id, line, books, oldest_s) for line in lines]):
            near.append(place)
    return near + [place for place in asked if place not in seen]


def _on_offer(event_id: int, line: comparing.Line, books: frozenset[str], oldest_s: int) -> Line:
    return Line(
        event_id,
        line.market,
        line.outcome,
        None if line.point is None else abs(line.point),
        [
            (offer.bookmaker, offer.price)
            for offer in line.offers
            if offer.confirmed_at >= oldest_s and not offer.suspended and offer.bookmaker in books
        ],
    )


def may_hold(market: str, lines: Iterable[Line]) -> bool:
    """Return whether some book of these lines could sum to less than 1. Pure.

    Names are not looked at: the smallest inverses of any outcomes, as many as a book has, are
    never more than those of the right ones.

    >>> may_hold("btts", [Line(1, "btts", "Yes", None, [(1, 2.1)]), Line(1, "btts", "No", None,
    ...     [(2, 2.0)])])
    True
    """
    if reader_of(market) is None:
        return False
    return any(
        len(inverses) >= ways and sum(sorted(inverses)[:ways]) < NEAR
        for ways, inverses in _books(market, lines)
    )


def _books(market: str, lines: Iterable[Line]) -> Iterator[tuple[int, list[float]]]:
    """Yield of whatever may be compared how many outcomes a book has, and each one's best."""
    if market.startswith("h2h_3_way"):
        yield 3, _bests((line.outcome, line.offers) for line in lines)
    elif market.startswith("h2h"):
        lines = list(lines)
        drawn = {book for line in lines if line.outcome == DRAW for book, _ in line.offers}
        for ways in (2, 3):  # two-way and three-way quotes are never mixed
            yield (
                ways,
                _bests(
                    (line.outcome, [one for one in line.offers if (one[0] in drawn) is (ways == 3)])
                    for line in lines
                ),
            )
    else:
        groups: dict[Any, list[Line]] = defaultdict(list)
        for line in lines:  # a team's or a player's total is a book of its own
            of = "" if "spreads" in market else line.outcome.rpartition(": ")[0]
            groups[line.distance, of].append(line)
        for group in groups.values():
            yield 2, _bests((line.outcome, line.offers) for line in group)


def _bests(outcomes: Iterable[tuple[str, list[tuple[str, float]]]]) -> list[float]:
    bests: dict[str, float] = {}
    for outcome, offers in outcomes:
        if offers:
            inverse = 1 / max(price for _, price in offers)
            bests[outcome] = min(inverse, bests.get(outcome, inverse))
    return list(bests.values())
