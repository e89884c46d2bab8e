"""Prices without the bookmakers' margin, and books as percentages. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from odds.comparing import Table


def fair_prices(table: Table) -> dict[str, float]:
    """Return the market's consensus without margin: {outcome: decimal odds}; empty if none.

    Each bookmaker that prices every outcome has its margin removed in proportion (the
    multiplicative method); the probabilities are then averaged over those bookmakers.
    """
    inverses = table.inverses()
    if not inverses:
        return {}
    fair = {}
    for outcome in table.outcomes:
        shares = [
            1 / offer.price / inverses[offer.bookmaker]
            for offer in outcome.offers
            if offer.bookmaker in inverses and not offer.suspended
        ]
        fair[outcome.name] = len(shares) / sum(shares)
    return fair


def overrounds(inverses: Mapping[str, float]) -> dict[str, float]:
    """Return each book's margin in percent; below 0 it pays more than it takes."""
    return {key: (inverse - 1) * 100 for key, inverse in inverses.items()}
