"""Opens the account of each request, and names its route for the statements' comments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from performance.core import asked, context
from performance.core.routes import readable
from performance.queries import capture


@sync_and_async_middleware
def count_queries(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Collect what a request asks of the database; a function, so that async pays no thread hop."""

    def begin(http: HttpRequest) -> tuple[capture.Asked, Any, Any]:
        request = capture.Asked()
        asked.leave(http, request)
        return request, capture.asked.set(request), context.route.set("")

    def end(opened: tuple[capture.Asked, Any, Any]) -> None:
        request, asked_token, route_token = opened
        capture.finish(request)
        capture.asked.reset(asked_token)
        context.route.reset(route_token)

    if iscoroutinefunction(get_response):

        async def over_async(request: HttpRequest) -> HttpResponse:
            opened = begin(request)
            try:
                awaitable: Awaitable[HttpResponse] = get_response(request)
                return await awaitable
            finally:
                end(opened)

        middleware: Callable[[HttpRequest], Any] = over_async
    else:

        def over_sync(request: HttpRequest) -> HttpResponse:
            opened = begin(request)
            try:
                response: HttpResponse = get_response(request)
                return response
            finally:
                end(opened)

        middleware = over_sync

    middleware.process_view = name_route  # type: ignore[attr-defined]
    return middleware


def name_route(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
    """Django calls it once the URL is resolved; before that no statement has a route."""
    if request.resolver_match is not None:
        context.route.set(readable(request.resolver_match.route))
