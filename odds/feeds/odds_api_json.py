"""Read odds as The Odds API v4 gives them: no network, no database.

Taken are a list of events, a single event, the historical envelope (`timestamp`, `data`) and a
list under one key of an application's own. American and decimal prices, ISO and unix times, are
told apart by their values. What else that API answers (sports, scores, errors, version 3) is
refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from odds.feeds.odds_api_shape import Evidence, number_of, unwrap
from odds.feeds.parsed import (
    POINT_LIMIT,
    PRICE_LIMIT,
    Parsed,
    Skipped,
    american_to_decimal,
    stored_price,
)
from odds.quotes import Batch, EventInfo, Quote, event_key

EVENT_ID = re.compile(r"[0-9a-f]{32}")
LONGEST = {"sport_key": 80, "sport_title": 120, "home_team": 120, "away_team": 120}


def parse_events(payload: Any, *, source: str = "the-odds-api") -> Parsed:
    """Return all quotes in a decoded JSON answer.

    `rows` counts events, and a `Skipped.row` is the event's index from 0. Of a price that stands
    twice the later confirmed one is kept. A market without `last_update` has its bookmaker's.
    Raises Refused for what is not odds of version 4.
    """
    events = unwrap(payload)
    evidence = Evidence()
    evidence.add(events)
    return parse_list(events, american=evidence.judge(), source=source)


def parse_list(
    events: list[Any], *, american: bool, source: str = "the-odds-api", first_row: int = 0
) -> Parsed:
    """Return the quotes of some events, when `Evidence` of all has told what prices they have."""
    reading = _Reading(american=american)
    for row, event in enumerate(events, start=first_row):
        reading.take(row, event)
    quotes = list(reading.quotes.values())
    return Parsed(
        batch=Batch(
            source=source,
            events=list(reading.events.values()),
            bookmakers=reading.bookmakers,
            quotes=[quote for quote, _ in quotes],
        ),
        exact=[exact for _, exact in quotes],
        skipped=reading.skipped,
        rows=len(events),
        rows_of_events=reading.rows,
    )


def _time(value: Any) -> datetime | None:
    try:
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(int(value), UTC)
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


class _Reading:
    """What has been read so far; `take` is given one event after the other."""

    def __init__(self, *, american: bool) -> None:
        self.american = american
        self.events: dict[str, EventInfo] = {}
        self.rows: dict[str, int] = {}
        self.bookmakers: dict[str, str] = {}
        self.quotes: dict[tuple[Any, ...], tuple[Quote, Fraction]] = {}
        self.skipped: list[Skipped] = []

    def skip(self, row: int, column: str, value: Any, reason: str) -> None:
        self.skipped.append(Skipped(row, column, "" if value is None else str(value)[:80], reason))

    def take(self, row: int, event: Any) -> None:
        info = self._event(row, event)
        if info is None:
            return
        self.events[info.key], self.rows[info.key] = info, row
        for bookmaker in self._each(row, event, "bookmakers"):
            key = bookmaker.get("key")
            if not isinstance(key, str) or not 0 < len(key) <= 80:
                self.skip(row, "bookmakers.key", key, "a bookmaker without a usable key")
                continue
            self.bookmakers[key] = str(bookmaker.get("title") or key)[:120]
            confirmed = bookmaker.get("last_update")
            for market in self._each(row, bookmaker, "markets"):
                self._market(row, info, key, market, market.get("last_update") or confirmed)

    def _event(self, row: int, event: Any) -> EventInfo | None:
        if not isinstance(event, dict):
            self.skip(row, "", event, "the event is not an object")
            return None
        starts = _time(event.get("commence_time"))
        if starts is None:
            reason = "neither an ISO time nor unix seconds"
            self.skip(row, "commence_time", event.get("commence_time"), reason)
            return None
        for column, longest in LONGEST.items():
            value = event.get(column)
            missing = value is None and column != "sport_key"
            if not missing and not (
                isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()
            ):
                self.skip(row, column, value, f"a text of 1 to {longest} characters is wanted")
                return None
        sport, home, away = event["sport_key"], event.get("home_team"), event.get("away_team")
        key = str(event.get("id") or "")
        if not EVENT_ID.fullmatch(key):
            key = event_key(sport, starts.date(), home or key, away or "")
        return EventInfo(
            key=key,
            sport_key=sport,
            sport_title=event.get("sport_title") or sport,
            commence_time=starts,
            home_team=home,
            away_team=away,
        )

    def _each(self, row: int, holder: dict[str, Any], column: str) -> Iterator[dict[str, Any]]:
        items = holder.get(column)
        for item in items if isinstance(items, list) else ([] if items is None else [items]):
            if isinstance(item, dict):
                yield item
            else:
                self.skip(row, column, item, "an object is wanted")

    def _market(
        self, row: int, info: EventInfo, bookmaker: str, market: dict[str, Any], confirmed: Any
    ) -> None:
        key = market.get("key")
        if not isinstance(key, str) or not 0 < len(key) <= 64:
            self.skip(row, "markets.key", key, f"a market of {bookmaker} without a usable key")
            return
        last_update = _time(confirmed)
        if last_update is None and confirmed is not None:
            self.skip(row, f"{bookmaker}.{key}.last_update", confirmed, "not a time; left empty")
        for outcome in self._each(row, market, "outcomes"):
            self._outcome(row, info, bookmaker, key, outcome, last_update)

    def _outcome(
        self,
        row: int,
        info: EventInfo,
        bookmaker: str,
        market: str,
        outcome: dict[str, Any],
        last_update: datetime | None,
    ) -> None:
        column = f"{bookmaker}.{market}"
        name, about = outcome.get("name"), outcome.get("description")
        if isinstance(name, str) and isinstance(about, str) and about:
            name = f"{about}: {name}"  # two players' Over are two outcomes
        if not isinstance(name, str) or not (0 < len(name) <= 120 and name.isprintable()):
            self.skip(row, f"{column}.name", name, "a text of 1 to 120 characters is wanted")
            return
        column = f"{column}.{name}"
        price = self._price(row, column, outcome.get("price"))
        point = number_of(outcome.get("point"))
        if price is None:
            return
        if outcome.get("point") is not None and not _fits(point):
            self.skip(row, f"{column}.point", outcome["point"], "no line of up to three decimals")
            return
        quote = Quote(
            event_key=info.key,
            bookmaker_key=bookmaker,
            market=market,
            outcome=name,
            point=None if point is None else Decimal(point.numerator) / point.denominator,
            price=stored_price(price),
            last_update=last_update,
        )
        self._keep(row, column, quote, price)

    def _price(self, row: int, column: str, value: Any) -> Fraction | None:
        number = number_of(value)
        if number is None:
            self.skip(row, column, value, "the price is not a number")
            return None
        if self.american:
            if -100 < number < 100:
                self.skip(row, column, value, "no American price lies between -100 and 100")
                return None
            number = american_to_decimal(number)
        if not 1 < number < PRICE_LIMIT or stored_price(number) <= 1:
            self.skip(row, column, value, "not above 1: never offered")
            return None
        return number

    def _keep(self, row: int, column: str, quote: Quote, exact: Fraction) -> None:
        place = (quote.event_key, quote.bookmaker_key, quote.market, quote.outcome, quote.point)
        known = self.quotes.get(place)
        if known is None:
            self.quotes[place] = quote, exact
            return
        if _newer(quote, known[0]):
            self.quotes[place], quote = (quote, exact), known[0]
        self.skip(row, column, quote.price, "stands twice; the later confirmed one was taken")


def _newer(quote: Quote, than: Quote) -> bool:
    if quote.last_update is None or than.last_update is None:
        return than.last_update is None and quote.last_update is not None
    return quote.last_update > than.last_update


def _fits(point: Fraction | None) -> bool:
    return point is not None and abs(point) < POINT_LIMIT and 1000 % point.denominator == 0
