"""The visitor's pages. Each parses the URL, asks one family, and sends its bytes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from functools import wraps
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from odds import families, filters, screens
from odds.bad_requests import BadRequest
from performance.caching.services import Family, RefreshFailed, cached_response, public_route
from performance.core import signals

logger = logging.getLogger(__name__)

HTML = "text/html; charset=utf-8"
RETRY_AFTER_S = 5
DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises for a server that is gone, restarting or silent."""

View = Callable[..., HttpResponseBase]


def page(view: View) -> View:
    """Turn what was refused into a page with its 4xx, and prices too old to show into a 503."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except BadRequest as bad:
            return refused(bad)
        except RefreshFailed as failed:
            logger.warning("No page: %s (%r)", failed, failed.__cause__)
            return _unavailable()

    return require_safe(shown)


def _unavailable() -> HttpResponse:
    response = render(None, "503.html", status=503)
    response["Retry-After"] = str(RETRY_AFTER_S)
    response["Cache-Control"] = "no-store"
    return response


def unavailable_json() -> JsonResponse:
    bad = BadRequest("server", None, "The database does not answer; try again shortly.")
    body = bad.as_json()
    body["error"]["retry_after_s"] = RETRY_AFTER_S
    headers = {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"}
    return JsonResponse(body, status=503, headers=headers)


def refused(bad: BadRequest) -> HttpResponse:
    title = "Nothing is here" if bad.status == 404 else "This link asks for something unknown"
    html = screens.refused(bad.message, title=title, status=bad.status, allowed=bad.allowed)
    response = HttpResponse(html, status=bad.status)
    response["Cache-Control"] = "no-store"
    return response


@page
def board(request: HttpRequest) -> HttpResponse:
    asked = filters.read(filters.BoardPage, request.GET)
    return _send(request, families.board_page, _board_arguments(asked))


@page
def event(request: HttpRequest, key: str) -> HttpResponse:
    asked = filters.read(filters.EventPage, request.GET)
    return _send(request, families.event_page, _event_arguments(asked, key))


@page
def arbitrage(request: HttpRequest) -> HttpResponse:
    asked = filters.read(filters.ArbitragePage, request.GET)
    chosen = _arbitrage_arguments(asked)
    if asked.id is None and asked.bankroll == 100:
        return _send(request, families.arbitrage_page, chosen)
    html = families.draw_arbitrage(*chosen, bankroll=asked.bankroll, wanted=asked.id)
    response = HttpResponse(html, content_type=HTML)
    response["Cache-Control"] = "private, no-cache"
    return response


def _board_arguments(asked: filters.BoardPage) -> tuple[Any, ...]:
    return (asked.sport or "", asked.market, tuple(asked.bookmakers), asked.page)


def _event_arguments(asked: filters.EventPage, key: str) -> tuple[Any, ...]:
    return (key, tuple(asked.bookmakers), asked.market, asked.outcome, asked.point)


def _arbitrage_arguments(
    asked: filters.ArbitragePage,
) -> tuple[str | None, tuple[str, ...], Decimal, bool]:
    hide = asked.suspect == "hide"
    return (asked.sport, tuple(asked.bookmakers), filters.plain(asked.min_roi), hide)


def _send(
    request: HttpRequest, family: Family[Any, bytes], arguments: tuple[Any, ...]
) -> HttpResponse:
    return cached_response(request, family, *arguments, content_type=HTML)


def observe_age(route: str, confirmed_s: float) -> None:
    """Report how old a price, last confirmed at `confirmed_s`, is as it leaves."""
    signals.recorder.observe("price_age", route, max(0.0, time.time() - confirmed_s))


# --- what Django calls for errors ------------------------------------------------------


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        bad = BadRequest("path", request.path[:200], "There is no such address.", "/api/docs", 404)
        return JsonResponse(bad.as_json(), status=404)
    return render(request, "404.html", status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        bad = BadRequest("request", None, "The request cannot be read.")
        return JsonResponse(bad.as_json(), status=400)
    return render(request, "400.html", status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """Say 500; or 503 when it was PostgreSQL that is away, which is nobody's error and passes."""
    if isinstance(sys.exception(), DATABASE_AWAY):
        return unavailable_json() if request.path.startswith("/api/") else _unavailable()
    if request.path.startswith("/api/"):
        bad = BadRequest("server", None, "Something broke on our side; it has been recorded.")
        return JsonResponse(bad.as_json(), status=500)
    return render(request, "500.html", status=500)


# --- stored answers of these are given before Django ----------------------------------


def give_early(
    path: str,
    family: Family[Any, bytes],
    schema: type[filters.Filters],
    arguments: Callable[..., tuple[Any, ...]],
    *,
    content_type: str = HTML,
) -> None:
    """Let the WSGI wrapper answer `path` from the cache; what is refused it leaves to the view."""

    def early(*, key: str = "", **values: str) -> tuple[Any, ...]:
        given = {name: value for name, value in values.items() if value != ""}
        try:
            asked = filters.read_values(schema, given)
        except BadRequest as bad:
            raise ValueError(str(bad)) from bad
        return arguments(asked, key) if key else arguments(asked)

    names = set(filters.allowed_names(schema)) - {"bankroll", "id"}  # stakes are never stored
    public_route(
        path,
        family,
        parameters=names,
        arguments=early,
        outdated_s=families.OUTDATED_S,
        content_type=content_type,
    )


give_early("/", families.board_page, filters.BoardPage, _board_arguments)
give_early("/events/<key>/", families.event_page, filters.EventPage, _event_arguments)
give_early("/arbitrage/", families.arbitrage_page, filters.ArbitragePage, _arbitrage_arguments)
