"""A small market for the tests of what is served, by real ingest."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from odds.quotes import DRAW, Batch, EventInfo, Quote
from odds.services import ingest

BOOKMAKERS = {
    "bet365": "Bet365",
    "pinnacle": "Pinnacle",
    "unibet": "Unibet",
    "betfair_ex_eu": "Betfair Exchange",
}
TEAMS = [("Arsenal", "Everton"), ("Chelsea", "Fulham"), ("Leeds", "Burnley")]


def now() -> datetime:
    return datetime.now(UTC)


def key(number: int) -> str:
    return hashlib.md5(f"event {number}".encode(), usedforsecurity=False).hexdigest()


def event(number: int, *, hours: float | None = None, **changes) -> EventInfo:
    home, away = TEAMS[number % len(TEAMS)]
    given = {
        "key": key(number),
        "sport_key": "soccer_epl",
        "sport_title": "EPL",
        "commence_time": now() + timedelta(hours=number + 1 if hours is None else hours),
        "home_team": home,
        "away_team": away,
    }
    return EventInfo(**(given | changes))


def quote(number: int, bookmaker: str, outcome: str, price: str, **changes) -> Quote:
    given = {
        "event_key": key(number),
        "bookmaker_key": bookmaker,
        "market": "h2h",
        "outcome": outcome,
        "point": None,
        "price": Decimal(price),
        "last_update": now() - timedelta(seconds=10),
    }
    return Quote(**(given | changes))


def book(number: int, bookmaker: str, home: str, draw: str, away: str) -> list[Quote]:
    names = TEAMS[number % len(TEAMS)]
    prices = {names[0]: home, DRAW: draw, names[1]: away}
    return [quote(number, bookmaker, outcome, price) for outcome, price in prices.items()]


def line(number: int, bookmaker: str, market: str, point: str, one: str, two: str) -> list[Quote]:
    home, away = TEAMS[number % len(TEAMS)]
    first, second = ("Over", "Under") if market == "totals" else (home, away)
    other = point if market == "totals" else str(-Decimal(point))
    return [
        quote(number, bookmaker, first, one, market=market, point=Decimal(point)),
        quote(number, bookmaker, second, two, market=market, point=Decimal(other)),
    ]


def send(*quotes: Quote, events: list[EventInfo] | None = None, withdrawn: list[Quote] = ()):
    known = events if events is not None else [event(number) for number in range(3)]
    return ingest(
        Batch(
            source="test",
            events=known,
            bookmakers=BOOKMAKERS,
            quotes=list(quotes),
            withdrawn=list(withdrawn),
        )
    )


def open_market(count: int = 3) -> None:
    """Quote `count` matches at three bookmakers, with totals and handicaps, without arbitrage."""
    quotes = []
    for number in range(count):
        quotes += book(number, "bet365", "2.50", "3.30", "2.80")
        quotes += book(number, "pinnacle", "2.60", "3.40", "2.70")
        quotes += book(number, "unibet", "2.45", "3.20", "2.90")
        quotes += line(number, "bet365", "totals", "2.5", "1.90", "1.95")
        quotes += line(number, "pinnacle", "totals", "2.5", "1.95", "1.93")
        quotes += line(number, "pinnacle", "totals", "3.5", "3.10", "1.38")
        quotes += line(number, "bet365", "spreads", "-0.5", "2.50", "1.55")
        quotes += line(number, "unibet", "spreads", "-0.5", "2.48", "1.57")
    send(*quotes, events=[event(number) for number in range(count)])


def open_arbitrage(number: int = 0) -> None:
    """Let the best prices of totals 2.5 sum to less than 1: 2.10 and 2.10."""
    send(
        *line(number, "bet365", "totals", "2.5", "2.10", "1.80"),
        *line(number, "pinnacle", "totals", "2.5", "1.80", "2.10"),
        *line(number, "unibet", "totals", "2.5", "1.95", "1.95"),
    )
