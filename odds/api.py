"""The JSON API: The Odds API v4's shape where it has one, our own additions beside it.

Every wrong input is refused with 4xx and `{"error": {"field", "value", "allowed", "message"}}`; a
parameter that is not declared is wrong input, never ignored.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any

import msgspec
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Path, Query
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import Swagger

from odds import api_schemas as schemas
from odds import families, filters
from odds.bad_requests import BadRequest
from odds.opportunities import Listing
from odds.stakes import calculate
from odds.views import (
    DATABASE_AWAY,
    RETRY_AFTER_S,
    give_early,
    observe_age,
    unavailable_json,
)
from performance.caching.services import RefreshFailed, cached_response

logger = logging.getLogger(__name__)

JSON = "application/json"

_UPDATED = re.compile(rb'"last_update":"?([0-9T:Z-]+)')
"""The first price's time in an answer of v4's shape: a sample of how old its prices are."""


class ReadablePage(Swagger):
    """Ninja's page: its own script files, none inline, so that it works under our CSP."""

    template = "odds/api_docs.html"


api = NinjaAPI(
    title="ProTipp",
    version="1",
    description=__doc__,
    docs=ReadablePage(),
    docs_url="/docs",
    openapi_url="/openapi.json",
)


@api.get("/v1/sports", response=list[schemas.Sport], tags=["odds"], summary="Sports")
def sports(request: HttpRequest) -> HttpResponse:
    """All sports with the number of their coming and running events."""
    filters.read(filters.Filters, request.GET)
    return cached_response(request, families.sports)


@api.get("/v1/odds", response=list[schemas.Event], tags=["odds"], summary="Odds of a sport")
def odds(request: HttpRequest, query: Query[filters.OddsFilters]) -> HttpResponse:
    """Coming and running events with their bookmakers' prices, in The Odds API v4's shape.

    `sport=upcoming` gives what is in play and the next eight events of all sports, a hundred at
    most. Prices that a bookmaker has suspended are left out. To read in pages, say `limit`, and
    `after` with the last id of the page before, until fewer than `limit` come.
    """
    arguments = _odds_arguments(filters.read(filters.OddsFilters, request.GET))
    response = cached_response(request, families.odds, *arguments)
    _observe(families.odds.name, families.odds(*arguments))
    return response


@api.get("/v1/events/{event_id}", response=schemas.EventDetail, tags=["odds"], summary="An event")
def event(
    request: HttpRequest, event_id: Path[filters.EventId], query: Query[filters.EventFilters]
) -> HttpResponse:
    """One event with all its markets: v4's object, and what is best, fair and suspended."""
    arguments = _event_arguments(filters.read(filters.EventFilters, request.GET), event_id)
    response = cached_response(request, families.event, *arguments)
    _observe(families.event.name, families.event(*arguments))
    return response


@api.get("/v1/arbitrage", response=schemas.Arbitrages, tags=["arbitrage"], summary="Arbitrage")
def arbitrage(request: HttpRequest, query: Query[filters.ArbitrageFilters]) -> HttpResponse:
    """Open opportunities, highest return first. With `bankroll`, each has its stakes to the cent.

    `suspect` says why one is probably an error. `stakes` is null where rounding leaves no profit.
    """
    arguments = _arbitrage_arguments(filters.read(filters.ArbitrageFilters, request.GET))
    if query.bankroll is None:
        return cached_response(request, families.arbitrage, *arguments)
    listing = msgspec.json.decode(families.arbitrage(*arguments), type=Listing)
    response = HttpResponse(
        families.encode(_with_stakes(listing, query.bankroll)), content_type=JSON
    )
    response["Cache-Control"] = "private, no-cache"
    return response


def _arbitrage_arguments(query: filters.ArbitrageFilters) -> tuple[Any, ...]:
    hide = query.suspect == "hide"
    return (query.sport, tuple(query.bookmakers), filters.plain(query.min_roi), hide)


def _event_arguments(query: filters.EventFilters, event_id: str) -> tuple[Any, ...]:
    return (event_id, tuple(query.bookmakers), query.history)


def _odds_arguments(query: filters.OddsFilters) -> tuple[Any, ...]:
    return (
        query.sport,
        tuple(query.markets),
        tuple(query.bookmakers),
        query.oddsFormat,
        query.dateFormat,
        query.commenceTimeFrom,
        query.commenceTimeTo,
        query.after,
        query.limit,
    )


def _with_stakes(listing: Listing, bankroll: Decimal) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(listing)
    found["bankroll"] = bankroll
    found["opportunities"] = []
    for one in listing.opportunities:
        planned = calculate(one, bankroll, listing.bookmakers)
        found["opportunities"].append(
            {**msgspec.structs.asdict(one), "stakes": planned and _stakes(planned)}
        )
    return found


def _stakes(planned: Any) -> dict[str, Any]:
    return {
        "staked": planned.staked,
        "profit": planned.profit,
        "bets": [
            {
                "outcome": bet.outcome,
                "price": bet.price,
                "net_price": bet.net_price,
                "stake": bet.stake,
                "pays": bet.pays,
                "profit": bet.profit,
            }
            for bet in planned.bets
        ],
    }


def _observe(route: str, body: bytes) -> None:
    found = _UPDATED.search(body, 0, 4096)
    if found is None:
        return
    text = found[1].decode()
    observe_age(route, float(text) if text.isdigit() else datetime.fromisoformat(text).timestamp())


# --- errors ---------------------------------------------------------------------------


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Find the same error again, ourselves: ninja's has lost the value and the unknown names."""
    matched = request.resolver_match
    for name, value in (matched.kwargs if matched else {}).items():
        if any(name in one["loc"] for one in error.errors):
            return _refuse(request, filters.bad_value(name, str(value)))
    try:
        filters.read(_SCHEMAS[request.path.split("/")[3]], request.GET)
    except BadRequest as bad:
        return _refuse(request, bad)
    raise error


@api.exception_handler(BadRequest)
def _refuse(request: HttpRequest, bad: BadRequest) -> HttpResponse:
    return _no_store(api.create_response(request, bad.as_json(), status=bad.status))


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    bad = BadRequest("path", request.path[:200], "There is no such address.", "/api/docs", 404)
    return _refuse(request, bad)


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _refuse(request, BadRequest("request", None, str(error), status=error.status_code))


@api.exception_handler(RefreshFailed)
def _too_old(request: HttpRequest, error: RefreshFailed) -> HttpResponse:
    """Say that there is nothing rather than send a price that may be wrong."""
    logger.warning("No answer: %s (%r)", error, error.__cause__)
    body = BadRequest("server", None, "Current prices cannot be read; try again shortly.").as_json()
    body["error"]["reason"] = "no copy younger than the limit, and the database did not answer"
    body["error"]["retry_after_s"] = RETRY_AFTER_S
    response = _no_store(api.create_response(request, body, status=503))
    response["Retry-After"] = str(RETRY_AFTER_S)
    return response


@api.exception_handler(Exception)
def _broken(request: HttpRequest, error: Exception) -> HttpResponse:
    """Give no details away; those who watch are told as for any other view."""
    if isinstance(error, DATABASE_AWAY):
        logger.warning("%s: PostgreSQL is away: %s", request.path, error)
        return unavailable_json()
    logger.exception("%s failed", request.path, exc_info=error)
    got_request_exception.send(sender=type(api), request=request)
    bad = BadRequest("server", None, "Something broke on our side; it has been recorded.")
    return _no_store(api.create_response(request, bad.as_json(), status=500))


def _no_store(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response


_SCHEMAS: dict[str, type[filters.Filters]] = {
    "odds": filters.OddsFilters,
    "events": filters.EventFilters,
    "arbitrage": filters.ArbitrageFilters,
}


# --- URLs -------------------------------------------------------------------------------


def _says_json(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Ninja says in plain text that a method is not allowed; ours says it as all errors."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code != 405:
            return response
        allowed = response["Allow"].split(", ")
        message = f"{request.method} is not possible here; only {', '.join(allowed)}."
        bad = BadRequest("method", request.method, message, allowed, 405)
        answer = _refuse(request, bad)
        answer["Allow"] = response["Allow"]
        return answer

    # A POST is to hear 405, not 403. What changes something checks the token of a session itself.
    return csrf_exempt(shown)


def urls(whole: NinjaAPI) -> tuple[list[Any], str, str]:
    """Return the URLs of the API, after everybody has mounted a part in it."""
    patterns, app_name, namespace = whole.urls
    for pattern in patterns:
        assert pattern.callback is not None
        pattern.callback = _says_json(pattern.callback)
    return patterns, app_name, namespace


# --- stored answers of these are given before Django ----------------------------------

give_early("/api/v1/sports", families.sports, filters.Filters, lambda asked: (), content_type=JSON)
give_early("/api/v1/odds", families.odds, filters.OddsFilters, _odds_arguments, content_type=JSON)
give_early(
    "/api/v1/events/<key>",
    families.event,
    filters.EventFilters,
    _event_arguments,
    content_type=JSON,
)
give_early(
    "/api/v1/arbitrage",
    families.arbitrage,
    filters.ArbitrageFilters,
    _arbitrage_arguments,
    content_type=JSON,
)
