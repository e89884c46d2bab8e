"""Arbitrage in plain values: no database, no clock, no settings.

A book is an arbitrage only if the *rational* sum of the inverses of its best prices is below 1:
floats and Decimals both say so of 3/3/3, which is not one. A float may only say that a market is
clearly none; whatever is near 1 is decided by `Fraction`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from odds.books import Book, Exact, Offer, Priced, Side, is_three_way, reader_of

SUSPECT_RATIO = Fraction(13, 10)
"""A best price above 1.3 times its outcome's median is a typing error or a stale price."""
CLEARLY_NONE = 1 + 1e-9
"""Floats err by less than 1e-14 here; a sum above this is above 1 exactly."""
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    outcome: str
    point: Decimal | None
    """The line from this outcome's own side."""
    price: Exact
    """Decimal odds as quoted, before an exchange's commission."""
    net_price: Exact
    """What is left of it after commission; the stakes are reckoned from this."""
    bookmakers: tuple[str, ...]
    """All that quote this price, in alphabetical order."""
    stake_pct: Fraction
    """Share of the bankroll, 0 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arbitrage:
    """A market whose every outcome pays more than was staked, if the legs are staked as said."""

    market: str
    ways: int
    line: Decimal | None
    """Totals: the line. Spreads: the home side's line."""
    sum_inverse: Fraction
    legs: tuple[Leg, ...]
    needs_exchange: bool
    """The best price of some outcome stands at exchanges alone."""
    suspect: str
    """Why it is probably an error; empty when it is not."""
    can_push: bool
    """Stakes may come back: a whole or quarter line, or a draw that voids a two-way bet. The
    profit is then smaller than `roi_pct`, never negative."""

    @property
    def roi_pct(self) -> Fraction:
        """Profit in percent of the money staked, the same whatever happens."""
        return 100 * (1 / self.sum_inverse - 1)

    @property
    def is_quarter(self) -> bool:
        """Half of each stake is settled at either neighbouring line."""
        return self.line is not None and Fraction(self.line) * 4 % 2 == 1


@dataclass(frozen=True, slots=True)
class StakePlan:
    stakes: dict[str, Decimal]
    profit: Decimal
    """The least that is won, in the bankroll's currency, after all rounding."""


def find_arbitrage(
    market: str,
    offers: Iterable[Offer],
    *,
    home: str | None = None,
    away: str | None = None,
    sport_key: str = "",
    commission: Mapping[str, Decimal] | None = None,
    exchanges: Collection[str] = (),
) -> list[Arbitrage]:
    """Return the arbitrages of one market of one event, one a line, best first.

    `offers` are all the prices of `market` (The Odds API's key); `commission` is each bookmaker's
    share of net winnings (0.05 is 5 %). Lay prices are never read as back prices. Two-way and
    three-way quotes of one event are kept apart: a bookmaker that prices no draw voids on one, or
    has forgotten it, and in football its two outcomes do not cover the match, so they are left
    out. Markets whose outcomes are not known to cover everything (outrights) give nothing.

    Costs about 10 us for a market without arbitrage. Raises ValueError for a price that is not
    above 1 and TypeError for a float.
    """
    read = reader_of(market)
    if read is None:
        return []
    priced = [_net(offer, commission or {}) for offer in offers]
    found = []
    for book in read(priced, home, away, is_three_way(market, sport_key)):
        arbitrage = _judge(market, book, exchanges)
        if arbitrage is not None:
            found.append(arbitrage)
    found.sort(key=lambda arbitrage: arbitrage.sum_inverse)
    return found


def covers(market: str) -> bool:
    """Say whether `find_arbitrage` can know that the outcomes of this market cover everything."""
    return reader_of(market) is not None


def _net(offer: Offer, commission: Mapping[str, Decimal]) -> Priced:
    price = offer.price
    if isinstance(price, float):
        raise TypeError(
            f"The price {price!r} of {offer.outcome!r} at {offer.bookmaker!r} is a float; "
            "give a Decimal or a Fraction, so that the sum is exact."
        )
    if not price > 1:
        raise ValueError(
            f"The price {price} of {offer.outcome!r} at {offer.bookmaker!r} is not above 1; "
            "leave out what a bookmaker does not offer."
        )
    rate = commission.get(offer.bookmaker)
    if not rate:
        return offer, price
    return offer, 1 + (Fraction(price) - 1) * (1 - Fraction(rate))


def _judge(market: str, book: Book, exchanges: Collection[str]) -> Arbitrage | None:
    sides, outcomes = book.sides, book.outcomes
    if not all(sides.get(outcome) for outcome in outcomes):
        return None
    bests = [max([side.net for side in sides[outcome]]) for outcome in outcomes]
    if sum([1 / float(net) for net in bests]) > CLEARLY_NONE:
        return None
    inverses = [1 / Fraction(net) for net in bests]
    total = sum(inverses, Fraction(0))
    if total >= 1:
        return None
    legs = tuple(
        _leg(outcome, net, sides[outcome], 100 * inverse / total)
        for outcome, net, inverse in zip(outcomes, bests, inverses, strict=True)
    )
    return Arbitrage(
        market=market,
        ways=len(outcomes),
        line=book.line,
        sum_inverse=total,
        legs=legs,
        needs_exchange=any(set(leg.bookmakers) <= set(exchanges) for leg in legs),
        suspect=_suspicion(legs, [[side.price for side in sides[one]] for one in outcomes]),
        can_push=book.can_push,
    )


def _leg(outcome: str, net: Exact, sides: list[Side], stake_pct: Fraction) -> Leg:
    at_best = [side for side in sides if side.net == net]
    # Of two that leave the same, the one without commission is quoted lower: no exchange needed.
    price = min(side.price for side in at_best)
    return Leg(
        outcome=outcome,
        point=at_best[0].point,
        price=price,
        net_price=net,
        bookmakers=tuple(sorted({side.bookmaker for side in at_best if side.price == price})),
        stake_pct=stake_pct,
    )


def _suspicion(legs: tuple[Leg, ...], prices: list[list[Exact]]) -> str:
    reasons = []
    for leg, quoted in zip(legs, prices, strict=True):
        median = _median(quoted)
        ratio = Fraction(leg.price) / Fraction(median)
        if ratio > SUSPECT_RATIO:
            reasons.append(
                f"{leg.outcome} at {float(leg.price):g} is {float(ratio):.2f} times "
                f"the median {float(median):g}"
            )
    alone = set(legs[0].bookmakers).intersection(*(leg.bookmakers for leg in legs[1:]))
    if alone:
        reasons.append(f"all legs stand at {min(alone)}, which would not bet against itself")
    return "; ".join(reasons)


def _median(prices: list[Exact]) -> Exact:
    """Return the middle price, of an even number the lower one of the two.

    So of two bookmakers the other is the measure, and not halfway to the outlier.
    """
    return sorted(prices)[(len(prices) - 1) // 2]


def plan_stakes(prices: Mapping[str, Exact], bankroll: Decimal) -> StakePlan | None:
    """Split `bankroll` so that every outcome pays the same, or return None if that loses.

    `prices` are the best decimal odds for each outcome, and must cover the whole market. Stakes
    are rounded down to the cent, as bookmakers round what they pay, and the profit is counted
    after that: a plan that is returned is a plan that pays. All arithmetic is rational, so
    no context precision takes part. Raises ValueError for no prices, a price not above 1 or a
    bankroll below one cent.

    >>> plan_stakes({"home": Decimal("2.10"), "away": Decimal("2.10")}, Decimal("100")).profit
    Decimal('5.00')
    """
    if not prices or any(not price > 1 for price in prices.values()):
        raise ValueError(f"Prices must be decimal odds above 1, one an outcome; got {prices!r}.")
    if not bankroll.is_finite() or bankroll < CENT:
        raise ValueError(f"The bankroll is {bankroll}; it must be at least {CENT}.")
    inverses = {outcome: 1 / Fraction(price) for outcome, price in prices.items()}
    book = sum(inverses.values())
    if book >= 1:
        return None
    cents = {
        outcome: int(Fraction(bankroll) * 100 * inverse / book)
        for outcome, inverse in inverses.items()
    }
    payout = min(int(cents[outcome] * Fraction(price)) for outcome, price in prices.items())
    profit = payout - sum(cents.values())
    if profit <= 0:
        return None
    return StakePlan({one: _money(stake) for one, stake in cents.items()}, _money(profit))


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
