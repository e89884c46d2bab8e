"""The stake calculator: what to put on each leg of a listed arbitrage, and what that pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from odds.arbitrage import plan_stakes
from odds.opportunities import Listed, ListedLeg, Quoter

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bet:
    outcome: str
    point: Decimal | None
    price: Decimal
    """As quoted."""
    net_price: Decimal
    """After the exchange's commission; the stakes are reckoned from this."""
    bookmakers: tuple[str, ...]
    stake: Decimal
    pays: Decimal
    """What comes back if this outcome happens, rounded down to the cent."""
    profit: Decimal
    """`pays` less all the stakes."""


@dataclass(frozen=True, slots=True)
class Calculation:
    bankroll: Decimal
    bets: tuple[Bet, ...]
    staked: Decimal
    profit: Decimal
    """The least over all outcomes."""


def calculate(
    listed: Listed, bankroll: Decimal, quoters: Mapping[str, Quoter]
) -> Calculation | None:
    """Split `bankroll` over the legs; None when rounding to cents leaves no profit."""
    nets = {leg.outcome: net_price(leg, quoters) for leg in listed.legs}
    plan = plan_stakes(nets, bankroll)
    if plan is None:
        return None
    staked = sum(plan.stakes.values(), Decimal(0))
    bets = []
    for leg in listed.legs:
        stake = plan.stakes[leg.outcome]
        pays = (stake * nets[leg.outcome]).quantize(CENT, ROUND_DOWN)
        bets.append(
            Bet(
                outcome=leg.outcome,
                point=leg.point,
                price=leg.price,
                net_price=nets[leg.outcome],
                bookmakers=tuple(leg.bookmakers),
                stake=stake,
                pays=pays,
                profit=pays - staked,
            )
        )
    return Calculation(bankroll, tuple(bets), staked, plan.profit)


def net_price(leg: ListedLeg, quoters: Mapping[str, Quoter]) -> Decimal:
    """Return the leg's price after commission on net winnings.

    All bookmakers of a leg quote the same price and leave the same, so the first one says it.
    """
    quoter = quoters.get(leg.bookmakers[0]) if leg.bookmakers else None
    commission = quoter.commission if quoter else Decimal(0)
    return 1 + (leg.price - 1) * (1 - commission)
