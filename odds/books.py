"""Which offers of a market make a complete book: every outcome once, at one line, by one rule.

This is where two-way and three-way prices, lines and their mirror images are kept apart, so that
`arbitrage` may simply take the best price of each outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from odds.quotes import DRAW

Exact = Decimal | Fraction | int
"""A price that is what it says. Floats are refused: 1.1 is not 11/10 as a float."""


class Offer(NamedTuple):
    """One bookmaker's price for one outcome of the market that is looked at."""

    bookmaker: str
    outcome: str
    point: Decimal | None
    price: Exact


class Side(NamedTuple):
    """An offer inside its book: `net` is the price after an exchange's commission."""

    net: Exact
    price: Exact
    point: Decimal | None
    bookmaker: str


class Book(NamedTuple):
    """The outcomes that cover a market, and who offers each of them."""

    line: Decimal | None
    outcomes: tuple[str, ...]
    sides: dict[str, list[Side]]
    can_push: bool


EXCHANGES = ("betfair_ex", "matchbook", "smarkets", "betdaq", "betopenly", "novig", "prophetx")


def is_exchange(bookmaker: str) -> bool:
    """Say whether The Odds API's key names an exchange: its prices are gross of commission."""
    return bookmaker == "betfair" or bookmaker.startswith(EXCHANGES)


def is_three_way(market: str, sport_key: str) -> bool:
    """Say whether a match can be drawn, so that home and away alone do not cover it."""
    return "3_way" in market or sport_key.startswith(("soccer", "football_data"))


Priced = tuple[Offer, Exact]
Reader = Callable[[list[Priced], str | None, str | None, bool], Iterable[Book]]


def reader_of(market: str) -> Reader | None:
    """Return what groups the offers of `market`; None where completeness cannot be known."""
    if market.endswith("_lay"):  # the price at which one takes bets, not makes them
        return None
    if market.startswith("h2h_3_way"):
        return _read_three_way
    if market.startswith("h2h"):
        return _read_winner
    if market.startswith("draw_no_bet"):
        return _read_winner_or_void
    if "spreads" in market:
        return _read_spreads
    if "totals" in market or market.startswith(("player_", "pitcher_", "batter_")):
        return _read_totals
    if market.startswith("btts"):
        return _read_yes_no
    return None


def _read_winner(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    if not home or not away:
        return
    by_bookmaker: dict[str, list[Priced]] = defaultdict(list)
    with_draw = set()
    for pair in priced:
        offer = pair[0]
        by_bookmaker[offer.bookmaker].append(pair)
        if offer.outcome == DRAW:
            with_draw.add(offer.bookmaker)
    two: dict[str, list[Side]] = {home: [], away: []}
    three: dict[str, list[Side]] = {home: [], DRAW: [], away: []}
    for bookmaker, pairs in by_bookmaker.items():
        group = three if bookmaker in with_draw else two
        for offer, net in pairs:
            if offer.outcome in group:
                group[offer.outcome].append(Side(net, offer.price, None, bookmaker))
    yield Book(None, (home, DRAW, away), three, False)
    if not three_way:
        yield Book(None, (home, away), two, bool(with_draw))


def _read_three_way(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    if home and away:  # the market's name says that a draw counts, whoever leaves it out
        yield Book(None, (home, DRAW, away), _by_outcome(priced), False)


def _read_winner_or_void(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    if home and away:
        yield Book(None, (home, away), _by_outcome(priced), True)


def _read_yes_no(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    yield Book(None, ("Yes", "No"), _by_outcome(priced), False)


def _by_outcome(priced: list[Priced]) -> dict[str, list[Side]]:
    group: dict[str, list[Side]] = defaultdict(list)
    for offer, net in priced:
        group[offer.outcome].append(Side(net, offer.price, offer.point, offer.bookmaker))
    return group


def _read_spreads(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    if not home or not away:
        return
    lines: dict[Decimal, dict[str, list[Side]]] = defaultdict(lambda: defaultdict(list))
    for offer, net in priced:
        if offer.point is not None:  # home -0.5 stands against away +0.5 and nothing else
            line = offer.point if offer.outcome == home else -offer.point
            lines[line][offer.outcome].append(Side(net, offer.price, offer.point, offer.bookmaker))
    for line, group in lines.items():
        yield Book(line + 0, (home, away), group, not _is_half(line))  # + 0: no minus zero


def _read_totals(
    priced: list[Priced], home: str | None, away: str | None, three_way: bool
) -> Iterable[Book]:
    lines: dict[tuple[str, Decimal], dict[str, list[Side]]] = defaultdict(lambda: defaultdict(list))
    for offer, net in priced:
        if offer.point is not None:
            of = offer.outcome.rpartition(": ")[0]  # a team's or a player's total
            found = lines[of, offer.point][offer.outcome]
            found.append(Side(net, offer.price, offer.point, offer.bookmaker))
    for (of, line), group in lines.items():
        prefix = f"{of}: " if of else ""
        yield Book(line, (f"{prefix}Over", f"{prefix}Under"), group, not _is_half(line))


def _is_half(line: Decimal) -> bool:
    return Fraction(line) * 2 % 2 == 1
