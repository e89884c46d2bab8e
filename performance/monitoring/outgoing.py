"""What this process asks other servers over HTTP, timed where every client passes.

httpx has its transports, and botocore and requests both go through urllib3. The key is the host's
name, never a path or a query: these may hold keys. An answer of 5xx, and none at all, is an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import httpx
import urllib3.connectionpool

from performance.core import signals

KIND = "http_out"
_inside = threading.local()


def install() -> None:
    """Wrap the clients, once a process; a second call does nothing."""
    if hasattr(httpx.HTTPTransport.handle_request, "__wrapped__"):
        return
    httpx.HTTPTransport.handle_request = _timed(httpx.HTTPTransport.handle_request)  # type: ignore[method-assign]
    httpx.AsyncHTTPTransport.handle_async_request = _timed_async(  # type: ignore[method-assign]
        httpx.AsyncHTTPTransport.handle_async_request
    )
    pool = urllib3.connectionpool.HTTPConnectionPool
    pool.urlopen = _timed_pool(pool.urlopen)  # type: ignore[method-assign]


def _timed(send: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @wraps(send)
    def timed(self: Any, request: httpx.Request) -> httpx.Response:
        started, ok = time.perf_counter(), False
        try:
            answer = send(self, request)
            ok = answer.status_code < 500
            return answer
        finally:
            _observe(request.url.host, started, ok)

    return timed


def _timed_async(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    async def timed(self: Any, request: httpx.Request) -> httpx.Response:
        started, ok = time.perf_counter(), False
        try:
            answer: httpx.Response = await send(self, request)
            ok = answer.status_code < 500
            return answer
        finally:
            _observe(request.url.host, started, ok)

    return timed


def _timed_pool(urlopen: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(urlopen)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_inside, "urlopen", False):  # it calls itself for a retry
            return urlopen(self, *args, **kwargs)
        _inside.urlopen = True
        started, ok = time.perf_counter(), False
        try:
            answer = urlopen(self, *args, **kwargs)
            ok = answer.status < 500
            return answer
        finally:
            _inside.urlopen = False
            _observe(self.host, started, ok)

    return timed


def _observe(host: str, started: float, ok: bool) -> None:
    signals.recorder.observe(KIND, host, time.perf_counter() - started, ok)
