"""What a decoded JSON answer is: odds of The Odds API v4, or something else by its name. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from odds.feeds.parsed import Refused


def unwrap(payload: Any) -> list[Any]:
    """Return the list of events inside `payload`; raises Refused, saying what it is instead."""
    if isinstance(payload, list):
        return payload
    if not isinstance(payload, dict):
        raise Refused(f"not odds of The Odds API v4: a JSON {type(payload).__name__}")
    if "error_code" in payload or (payload and set(payload) <= {"message", "details_url"}):
        code = payload.get("error_code") or payload.get("message")
        raise Refused(f"an error answer of The Odds API ({code!s:.80}), not odds")
    if "bookmakers" in payload:
        return [payload]
    if isinstance(payload.get("data"), dict) and "bookmakers" in payload["data"]:
        return [payload["data"]]
    lists = [value for value in payload.values() if isinstance(value, list)]
    if len(lists) != 1:
        raise Refused(f"not odds of The Odds API v4: an object with {_names(payload)}")
    return lists[0]


class Evidence:
    """What a list of events is and what kind of prices it has, told by all of them together."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.negative = self.between = self.hundreds = self.items = 0

    def add(self, events: list[Any]) -> None:
        self.items += len(events)
        for event in objects(events):
            self.keys.update(list(event)[:100] if len(self.keys) < 1000 else ())
        for outcome in outcomes_of(events):
            price = number_of(outcome.get("price"))
            if price is not None:
                self.negative += price < 0
                self.between += 1 < price < 100
                self.hundreds += price >= 100

    def judge(self) -> bool:
        """Say whether prices are American; raises Refused when it is no list of odds.

        150 alone could be either; -110 and 1.9 could not.
        """
        if self.items:
            self._refuse_relatives()
        few, many = sorted((self.negative, self.between))
        if few * 100 > many:  # fewer are single bad cells
            raise Refused(
                f"American and decimal prices are mixed: {self.negative} are negative and "
                f"{self.between} lie between 1 and 100"
            )
        return self.negative > self.between or (self.hundreds > 0 and self.between == 0)

    def _refuse_relatives(self) -> None:
        keys = self.keys
        if {"id", "sport_key", "commence_time", "bookmakers"} <= keys:
            return
        if "sites" in keys or "sport_nice" in keys:
            raise Refused("odds of The Odds API's version 3 (`sites`), long switched off; v4 only")
        if "scores" in keys:
            raise Refused("scores of The Odds API, not odds")
        if {"key", "group", "has_outrights"} <= keys:
            raise Refused("the list of sports of The Odds API, not odds")
        if {"id", "sport_key", "commence_time"} <= keys:
            raise Refused("a list of The Odds API's events without `bookmakers`, so without odds")
        raise Refused(f"not odds of The Odds API v4: a list of objects with {_names(keys)}")


def _names(keys: Any) -> str:
    shown = ", ".join(f"`{str(key)[:30]}`" for key in sorted(map(str, keys))[:6])
    return shown or "nothing in them"


def outcomes_of(events: list[Any]) -> Iterator[dict[str, Any]]:
    for event in objects(events):
        for bookmaker in objects(event.get("bookmakers")):
            for market in objects(bookmaker.get("markets")):
                yield from objects(market.get("outcomes"))


def objects(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def number_of(value: Any) -> Fraction | None:
    """Return a JSON number exactly as it is written: 1.1 is 11/10, whatever a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = Decimal(value if isinstance(value, Decimal) else str(value))
    except InvalidOperation:
        return None
    return Fraction(number) if number.is_finite() and abs(number) < 10**9 else None
