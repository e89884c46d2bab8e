"""Prices into tables whose outcomes may be compared. Pure: no database.

This runs in the node and not in the statement, because it is the cheaper place: PostgreSQL took
25 us a price to group, rank and nest them, this takes less than one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from odds.quotes import DRAW


class Offer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One bookmaker's price for one outcome."""

    bookmaker: str
    price_id: int
    price: float
    confirmed_at: int
    """When the bookmaker last confirmed it, by the provider; when we last saw it where nobody
    says."""
    changed_at: int
    suspended: bool = False


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """All offers of one outcome at one point, as the database groups them."""

    market: str
    outcome: str
    point: float | None
    offers: list[Offer]


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


Group = list[Line]


def tables(lines: Iterable[Line], home: str, away: str, *, most: int) -> list[Table]:
    """Return the event's tables, by market and line: `most` of a market, those most priced first.

    Lines are read from the home side, so that home -0.5 and away +0.5 stand in one table.
    """
    groups: dict[str, dict[float | None, Group]] = {}
    for line in lines:
        point = line.point
        if point is not None and line.outcome == away and "spreads" in line.market:
            point = 0.0 - point  # from 0, so that there is no minus zero
        groups.setdefault(line.market, {}).setdefault(point, []).append(line)
    places = {home: 0, "Over": 0, "Yes": 0, DRAW: 1, away: 2}
    found: list[Table] = []
    for market in sorted(groups):
        split = [
            (point, draw, group)
            for point, whole in groups[market].items()
            for draw, group in _by_draw(whole)
        ]
        if len(split) > most:
            split = sorted(split, key=_most_priced)[:most]
        if len(split) > 1:
            split.sort(key=lambda one: (one[0] is None, one[0] or 0.0, not one[1]))
        found += [_table(market, point, draw, group, places) for point, draw, group in split]
    return found


def _by_draw(group: Group) -> list[tuple[bool, Group]]:
    """Part the bookmakers that price the draw from those that do not."""
    drawn = {offer.bookmaker for line in group if line.outcome == DRAW for offer in line.offers}
    if not drawn:
        return [(False, group)]
    three, two = [], []
    for line in group:
        if drawn.issuperset([offer.bookmaker for offer in line.offers]):
            three.append(line)
            continue
        within = [offer for offer in line.offers if offer.bookmaker in drawn]
        if within:
            three.append(msgspec.structs.replace(line, offers=within))
        others = [offer for offer in line.offers if offer.bookmaker not in drawn]
        two.append(msgspec.structs.replace(line, offers=others))
    return [(True, three), (False, two)] if two else [(True, three)]


def _most_priced(split: tuple[float | None, bool, Group]) -> tuple[float, ...]:
    point, draw, group = split
    offers = sum(len(line.offers) for line in group)
    return -offers, point is None, abs(point or 0.0), point or 0.0, not draw


def _table(
    market: str, point: float | None, draw: bool, group: Group, places: dict[str, int]
) -> Table:
    choose = min if "_lay" in market else max
    ranked: list[tuple[int, float, str, int, Outcome]] = []
    inverse: float | None = 0.0
    for line in group:
        prices = [offer.price for offer in line.offers if not offer.suspended]
        best = choose(prices) if prices else None
        inverse = inverse + 1 / best if best is not None and inverse is not None else None
        outcome = Outcome(line.outcome, line.point, best, line.offers)
        place = places.get(line.outcome, 3)
        ranked.append((place, best or math.inf, line.outcome, len(ranked), outcome))
    ranked.sort()
    if len(ranked) < 2:
        inverse = None  # the other outcomes are only missing here
    return Table(market, point, draw, [outcome for *_, outcome in ranked], inverse)
