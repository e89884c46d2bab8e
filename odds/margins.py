"""Probabilities behind a book's prices: three ways to take the bookmaker's margin out. Pure.

With pi_i = 1 / price_i and B = sum(pi_i), the book's sum:

- multiplicative: p_i = pi_i / B.
- power (Clarke, Kovalchik & Ingram, "Adjusting bookmaker's odds to allow for overround", 2017):
  p_i = pi_i ** k, with the k that makes the sum 1.
- Shin (H. S. Shin, "Measuring the incidence of insider trading in a market for state-contingent
  claims", Economic Journal 103, 1993; inverted as by Jullien & Salanie, 1994):
  p_i = (sqrt(z**2 + 4 * (1 - z) * pi_i**2 / B) - z) / (2 * (1 - z)), with the z, the share of
  insiders, that makes the sum 1. For two outcomes it equals taking (B - 1) / 2 from each pi.

The roots are found by bisection to the last bit: both sums fall steadily in k and in z, so it can
neither diverge nor stop early, as the fixed-point iterations in use elsewhere do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

Price = Decimal | Fraction | float | int


class PowerResult(NamedTuple):
    probabilities: list[float]
    k: float


class ShinResult(NamedTuple):
    probabilities: list[float]
    z: float
    """The share of insiders, 0 to below 1, that the margin is explained by."""


def overround_pct(prices: Sequence[Price]) -> float:
    """Return what the book is above 100 %, in percent; below 0 it pays more than it takes."""
    return 100 * (math.fsum(_inverses(prices)) - 1)


def multiplicative(prices: Sequence[Price]) -> list[float]:
    """Return probabilities in proportion to 1 / price; defined for any book.

    >>> multiplicative([1.5, 3.0])
    [0.6666666666666666, 0.3333333333333333]
    """
    inverses = _inverses(prices)
    total = math.fsum(inverses)
    return [inverse / total for inverse in inverses]


def power(prices: Sequence[Price]) -> PowerResult:
    """Return the probabilities and k, which is above 1 when the book has a margin, below when not.

    Raises ValueError as all here do: for fewer than two prices, or one that is not above 1.
    """
    logs = [math.log(inverse) for inverse in _inverses(prices)]

    def excess(k: float) -> float:
        return math.fsum(math.exp(k * log) for log in logs) - 1

    high = 1.0
    while excess(high) > 0:
        high *= 2
    k = _root(excess, 0.0, high)
    return PowerResult(_sum_to_one([math.exp(k * log) for log in logs]), k)


def shin(prices: Sequence[Price]) -> ShinResult:
    """Return the probabilities and z. A book below 100 % has no z: that raises ValueError."""
    inverses = _inverses(prices)
    book = math.fsum(inverses)
    if book < 1:
        raise ValueError(
            f"The book's sum is {book:.6f}; Shin's model explains a margin, so it must be at "
            "least 1. multiplicative() and power() take any book."
        )

    def at(z: float) -> list[float]:
        if z >= 1:
            return [inverse * inverse / book for inverse in inverses]
        # The same as in the module's docstring without the difference of two near numbers.
        return [
            2 * inverse * inverse / book
            / (math.sqrt(z * z + 4 * (1 - z) * inverse * inverse / book) + z)
            for inverse in inverses
        ]  # fmt: skip

    def excess(z: float) -> float:
        return math.fsum(at(z)) - 1

    z = 0.0 if excess(0.0) <= 0 else _root(excess, 0.0, 1.0)
    return ShinResult(_sum_to_one(at(z)), z)


def _inverses(prices: Sequence[Price]) -> list[float]:
    if len(prices) < 2:
        raise ValueError(f"A book has two outcomes or more; {len(prices)} prices were given.")
    for price in prices:
        if not (price > 1 and math.isfinite(price)):
            raise ValueError(f"A price is {price}; decimal odds are finite and above 1.")
    return [1 / float(price) for price in prices]


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where `falling` crosses zero between `low` (above it) and `high` (not above it)."""
    while low < (middle := (low + high) / 2) < high:
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return high


def _sum_to_one(probabilities: list[float]) -> list[float]:
    total = math.fsum(probabilities)  # off by a few last bits
    return [probability / total for probability in probabilities]
