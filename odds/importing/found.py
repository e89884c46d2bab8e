"""The arbitrages inside a file, in the words of that file: row, market, phase, its own codes.

Nothing is stored and no database is asked. Prices are gross of an exchange's commission, as the
file has them; `needs_exchange` says where that matters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from odds.arbitrage import Arbitrage, find_arbitrage
from odds.books import Offer, is_exchange
from odds.feeds.football_columns import EXCHANGE_CODES
from odds.feeds.football_data import Match
from odds.feeds.parsed import Parsed
from odds.quotes import DRAW, EventInfo, Quote

FOOTBALL_MARKETS = {"h2h": "1X2", "totals": "OU2.5", "spreads": "AH"}


def in_match(file: str, match: Match) -> Iterator[dict[str, Any]]:
    """Yield the arbitrages of one row of football-data.co.uk.

    Its columns say that a draw is priced, so a bookmaker whose draw is blank still counts for the
    others' sake: the market is the three-way one, whoever left a cell out.
    """
    books: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    for column, exact, _, point in match.cells:
        if column.line is None or column.shares_line:
            books[column.market, column.phase].append(
                Offer(column.code, column.outcome, point, exact)
            )
    for (market, phase), offers in books.items():
        sides = ("Home", "Away") if market == "spreads" else ("H", "A")
        name = "h2h_3_way" if market == "h2h" else market
        for found in find_arbitrage(
            name, offers, home=sides[0], away=sides[1], exchanges=EXCHANGE_CODES
        ):
            yield _line(file, match.row, FOOTBALL_MARKETS[market], phase, found, {DRAW: "D"})


def in_events(file: str, parsed: Parsed) -> Iterator[dict[str, Any]]:
    """Yield the arbitrages of events of The Odds API; `row` is the event's index in the file."""
    rows = parsed.rows_of_events
    infos = {event.key: event for event in parsed.batch.events}
    books: dict[str, dict[str, list[tuple[Quote, Fraction]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for quote, exact in zip(parsed.batch.quotes, parsed.exact, strict=True):
        books[quote.event_key][quote.market].append((quote, exact))
    for key, markets in books.items():
        phase = _phase(infos[key], markets)
        for market, pairs in markets.items():
            offers = [
                Offer(quote.bookmaker_key, quote.outcome, quote.point, exact)
                for quote, exact in pairs
            ]
            exchanges = {offer.bookmaker for offer in offers if is_exchange(offer.bookmaker)}
            for found in find_arbitrage(
                market,
                offers,
                home=infos[key].home_team,
                away=infos[key].away_team,
                sport_key=infos[key].sport_key,
                exchanges=exchanges,
            ):
                name = f"h2h/{found.ways}way" if market == "h2h" else market
                yield _line(file, rows[key], name, phase, found, {})


def _phase(event: EventInfo, markets: dict[str, list[tuple[Quote, Fraction]]]) -> str:
    """Say `in-play` when any of its prices was confirmed after the start."""
    confirmed = [
        quote.last_update
        for pairs in markets.values()
        for quote, _ in pairs
        if quote.last_update is not None
    ]
    return "in-play" if confirmed and max(confirmed) > event.commence_time else "pre"


def _line(
    file: str, row: int, market: str, phase: str, found: Arbitrage, names: dict[str, str]
) -> dict[str, Any]:
    return {
        "file": file,
        "row": row,
        "market": market,
        "phase": phase,
        "line": None if found.line is None else float(found.line),
        "sum_inverse": float(found.sum_inverse),
        "roi_pct": float(found.roi_pct),
        "legs": [
            {
                "outcome": names.get(leg.outcome, leg.outcome),
                "price": float(leg.price),
                "bookmakers": list(leg.bookmakers),
                "stake_pct": float(leg.stake_pct),
            }
            for leg in found.legs
        ],
        "suspect": found.suspect or None,
        "needs_exchange": found.needs_exchange,
    }
