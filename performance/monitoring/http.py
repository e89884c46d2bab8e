"""Requests measured outside everything: around the WSGI and ASGI applications.

What the cache's wrapper answers before Django counts like the rest. The time is that until the
answer is ready; the sending of a streamed body is not in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from performance.monitoring import clock
from performance.monitoring.recorder import StreamRecorder

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
AsgiApplication = Callable[
    [Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


def wsgi_monitor(application: WsgiApplication, recorder: StreamRecorder) -> WsgiApplication:
    """Return `application` with its requests counted; a request that raises counts as 500."""

    def monitored(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        spent = clock.Clock()
        before = clock.current.set(spent)
        status = 500
        started = time.perf_counter()

        def start(line: str, *args: Any) -> Any:
            nonlocal status
            status = _status(line)
            return start_response(line, *args)

        try:
            return application(environ, start)
        finally:
            seconds = time.perf_counter() - started
            clock.current.reset(before)
            where = clock.where(
                environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"), spent.request
            )
            recorder.request(where, status, seconds, spent)

    return monitored


@lru_cache(maxsize=1024)
def _status(line: str) -> int:
    """Read a status line such as `200 OK`; they are few, and an int of text is dear."""
    return int(line[:3])


def asgi_monitor(application: AsgiApplication, recorder: StreamRecorder) -> AsgiApplication:
    """Return `application` with its HTTP requests counted; sockets report to `core.signals`."""

    async def monitored(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        spent = clock.Clock()
        clock.current.set(spent)  # the server runs each request in a context of its own
        status, seconds = 500, None
        started = time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - started
            await send(message)

        try:
            await application(scope, receive, sent)
        finally:
            if seconds is None:
                seconds = time.perf_counter() - started
            where = clock.where(scope["method"], scope["path"], spent.request)
            recorder.request(where, status, seconds, spent)

    return monitored


@sync_and_async_middleware
def name_request(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware: hand the request to the clock that runs around it, for its route and its user."""
    if iscoroutinefunction(get_response):

        async def named_async(request: HttpRequest) -> HttpResponse:
            _hand_over(request)
            answer: HttpResponse = await get_response(request)
            return answer

        return named_async

    def named(request: HttpRequest) -> HttpResponse:
        _hand_over(request)
        answer: HttpResponse = get_response(request)
        return answer

    return named


def _hand_over(request: HttpRequest) -> None:
    spent = clock.current.get()
    if spent is not None:
        spent.request = request


def remember_exception(sender: object, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Receiver of `got_request_exception`: name what Django is about to answer 500 for."""
    spent = clock.current.get()
    if spent is not None:
        spent.error = sys.exc_info()[1]
