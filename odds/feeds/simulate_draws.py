"""Chance that needs no memory, and the ladder that prices stand on. Pure.

Every number belongs to the whole numbers it is drawn for, and is the same whenever it is asked.
"""

from __future__ import annotations

import math
from decimal import Decimal

LADDER = ((200, 1), (300, 2), (400, 5), (600, 10), (1000, 20), (2000, 50), (3000, 100))
"""Below this many hundredths, prices stand this many hundredths apart, as on an exchange."""
MIX = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def draw(*names: int) -> int:
    """Return 64 bits that belong to these numbers (splitmix64 over each in turn)."""
    state = 0
    for name in names:
        state = (state ^ name) + MIX & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


def unit(*names: int) -> float:
    """Return a number from 0 to below 1 that belongs to these numbers."""
    return draw(*names) / 2**64


def wander(step: float, *names: int) -> float:
    """Return where a smooth walk around 0 stands at `step`; neighbours are near, about ±1 far."""
    total = 0.0
    for octave, (width, height) in enumerate(((40.0, 0.7), (9.0, 0.35), (2.0, 0.15))):
        at = step / width
        left = math.floor(at)
        part = at - left
        part = part * part * (3 - 2 * part)
        before, after = unit(*names, octave, left & MASK), unit(*names, octave, left + 1 & MASK)
        total += height * (2 * (before + (after - before) * part) - 1)
    return total


def on_ladder(price: float) -> Decimal:
    """Return the next price down that a bookmaker would write: 1.97, 2.06, 3.45, 7.2, 110.

    >>> on_ladder(2.079)
    Decimal('2.06')
    """
    hundredths = max(101, int(price * 100 + 1e-9))
    step = next((step for limit, step in LADDER if hundredths < limit), 500)
    return Decimal(hundredths // step * step).scaleb(-2)
