"""What every parser gives back: quotes to ingest, and an account of all that it did not take."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import NamedTuple

from odds.errors import OddsError
from odds.quotes import Batch

PRICE_STEP = Decimal("0.000001")
PRICE_LIMIT = 100_000
"""Nobody means decimal odds from here on."""
POINT_LIMIT = 1_000_000


class Refused(OddsError):
    """A file or an answer is not what it claims to be; nothing of it may be stored."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Skipped(NamedTuple):
    """One row or cell that was not taken. `column` and `value` are empty for a whole row."""

    row: int
    """CSV: the line, the header being 1. JSON: the event's index, from 0."""
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Parsed:
    batch: Batch
    exact: list[Fraction]
    """The prices of `batch.quotes`, one for one, as rationals: American -110 is 21/11 here, and
    1.909090 in the quote."""
    skipped: list[Skipped] = field(default_factory=list)
    rows: int = 0
    rows_of_events: dict[str, int] = field(default_factory=dict)
    """Event key: the index of its (last) event."""


def stored_price(price: Fraction) -> Decimal:
    """Return the price as it is stored: six places, rounded down, never more than is paid.

    Rounded to the nearest, American -110 against decimal 2.1 would become an arbitrage.

    >>> stored_price(Fraction(21, 11))
    Decimal('1.909090')
    """
    scaled = price.numerator * 1_000_000 // price.denominator
    return Decimal(scaled).scaleb(-6).quantize(PRICE_STEP, ROUND_DOWN)


def american_to_decimal(american: Fraction) -> Fraction:
    """Return decimal odds exactly. Raises ValueError between -100 and 100, where none exist.

    >>> american_to_decimal(Fraction(-110))
    Fraction(21, 11)
    """
    if american >= 100:
        return 1 + american / 100
    if american <= -100:
        return 1 - 100 / american
    raise ValueError(f"{american} is no American price; they are 100 and above or -100 and below.")
