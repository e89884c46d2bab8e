"""What a visitor may ask for, in the query of a URL: declared names only, each checked.

The same schemas serve the API and the pages, so that both refuse the same things in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from django.http import QueryDict
from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from odds.bad_requests import BadRequest

FEATURED = ("h2h", "spreads", "totals", "outrights")
"""The markets of a board, in the order of its tabs."""
V4_MARKETS = (*FEATURED, "h2h_lay", "outrights_lay")
MAX_BOOKMAKERS = 40

Market = Literal["h2h", "spreads", "totals", "outrights"]
V4Market = Literal["h2h", "spreads", "totals", "outrights", "h2h_lay", "outrights_lay"]


def _split(value: Any) -> Any:
    """`a,b` and `a&b` both, as The Odds API's clients and HTML forms send lists; sorted, so that
    one wish has one cache entry."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return sorted({part.strip() for text in value for part in str(text).split(",")} - {""})
    return value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)  # noqa: UP017
    return value.astimezone(timezone.utc)  # noqa: UP017


Keys = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,80}$")]],
    BeforeValidator(_split),
    Field(max_length=MAX_BOOKMAKERS),
]
Instant = Annotated[datetime, AfterValidator(_utc)]
SportKey = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,80}$")]
Bankroll = Annotated[
    Decimal, Field(ge=Decimal("0.10"), le=Decimal(10_000_000), decimal_places=2, max_digits=10)
]
EventId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Filters(Schema):
    """The root: a name that is not declared is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OddsFilters(Filters):
    sport: SportKey = Field(description="A key of /api/v1/sports, or `upcoming`.")
    markets: Annotated[list[V4Market], BeforeValidator(_split)] = Field(
        ["h2h"], description="Featured markets; exchanges' lay prices come along with `h2h`."
    )
    bookmakers: Keys = Field([], description="Only these; all when left out.")
    oddsFormat: Literal["decimal", "american"] = "decimal"
    dateFormat: Literal["iso", "unix"] = "iso"
    commenceTimeFrom: Instant | None = None
    commenceTimeTo: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = Field(
        500, description="At most so many events, soonest first."
    )
    after: EventId | None = Field(
        None, description="Only events that come after this one: the last id of the page before."
    )


class EventFilters(Filters):
    bookmakers: Keys = Field([], description="Only these; all when left out.")
    history: bool = Field(False, description="Add each price's latest changes.")


class ArbitrageFilters(Filters):
    sport: SportKey | None = None
    bookmakers: Keys = Field([], description="Every leg must be available at one of these.")
    min_roi: Annotated[Decimal, Field(ge=0, le=100)] = Field(
        Decimal(0), description="Percent of the money staked."
    )
    suspect: Literal["show", "hide"] = "show"
    bankroll: Bankroll | None = Field(None, description="Adds the stakes for this much money.")


class BoardPage(Filters):
    sport: SportKey | None = None
    market: Market = "h2h"
    bookmakers: Keys = []
    page: Annotated[int, Field(ge=1, le=1000)] = 1


class EventPage(Filters):
    bookmakers: Keys = []
    market: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")] | None = None
    outcome: Annotated[str, Field(max_length=120)] | None = None
    point: Annotated[Decimal, Field(ge=-100_000, le=100_000)] | None = None


class ArbitragePage(Filters):
    sport: SportKey | None = None
    bookmakers: Keys = []
    min_roi: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)
    suspect: Literal["show", "hide"] = "show"
    bankroll: Bankroll = Decimal(100)
    id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


F = TypeVar("F", bound=Filters)


def read(schema: type[F], query: QueryDict) -> F:
    """Return the page's filters; a field left empty in a form counts as not given.

    Raises BadRequest for the first thing that is wrong.
    """
    lists = [name for name, field in schema.model_fields.items() if _takes_list(field)]
    given: dict[str, Any] = {}
    for name in query:
        values = [value for value in query.getlist(name) if value != ""]
        if values:
            given[name] = values if name in lists else values[-1]
    return read_values(schema, given)


def read_values(schema: type[F], given: Mapping[str, Any]) -> F:
    """Return the filters out of plain values, as they stand in a query; BadRequest as `read`."""
    try:
        return schema.model_validate(dict(given))
    except pydantic.ValidationError as error:
        raise bad_request_of(error.errors(), allowed_names(schema)) from None


def plain(number: Decimal) -> Decimal:
    """Return the same number written in one way: 1, 1.0 and 1.00 are one cache entry."""
    return number.normalize() + 0


def allowed_names(schema: type[Schema]) -> list[str]:
    return list(schema.model_fields)


def bad_request_of(errors: Sequence[Mapping[str, Any]], names: Sequence[str]) -> BadRequest:
    """Return the first of pydantic's errors in our words."""
    error = errors[0]
    field = next((str(part) for part in reversed(error["loc"]) if isinstance(part, str)), "")
    value = error.get("input")
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        near = get_close_matches(field, names, n=1)
        known = f"There are: {', '.join(names)}." if names else "There are none here."
        hint = f"Did you mean {near[0]!r}?" if near else known
        return BadRequest(field, _shown(value), f"There is no parameter {field!r}. {hint}", names)
    if kind == "missing":
        return BadRequest(field, None, f"The parameter {field!r} is needed.", _RULES.get(field, ""))
    if kind == "literal_error":
        allowed = [
            part.strip("' ") for part in context["expected"].replace(" or ", ", ").split(",")
        ]
        message = f"{field} is {value!r}; it must be one of: {', '.join(allowed)}."
        return BadRequest(field, _shown(value), message, allowed)
    return bad_value(field, _shown(value), error["msg"])


def bad_value(field: str, value: object, otherwise: str = "") -> BadRequest:
    """Say by the field's rule what it may hold."""
    allowed_text = _RULES.get(field, otherwise)
    return BadRequest(
        field,
        _shown(value),
        f"{field} is {_shown(value)!r}; it must be {allowed_text}.",
        allowed_text,
    )


_RULES = {
    "sport": "a key of /api/v1/sports, such as soccer_epl",
    "bookmakers": f"keys such as pinnacle, separated by commas, at most {MAX_BOOKMAKERS}",
    "commenceTimeFrom": "a time in ISO 8601, such as 2026-11-24T15:00:00Z",
    "commenceTimeTo": "a time in ISO 8601, such as 2026-11-24T15:00:00Z",
    "min_roi": "a number of percent from 0 to 100",
    "bankroll": "an amount from 0.10 to 10000000 with at most two decimals",
    "page": "a number from 1 to 1000",
    "limit": "a number of events from 1 to 500",
    "after": "the id of the last event that you have",
    "history": "true or false",
    "id": "the number of an opportunity in the list",
    "event_id": "an id of 32 hexadecimal digits, such as /api/v1/odds gives",
    "market": "a market's key, such as h2h",
    "outcome": "the name of an outcome, at most 120 characters",
    "point": "a line, such as 2.5",
}


def _shown(value: object) -> object:
    """What comes back in an error is short, whatever was sent."""
    return value[:200] if isinstance(value, str) else value


def _takes_list(field: Any) -> bool:
    return "list[" in str(field.annotation)
