"""What one request spends its time on, gathered while it runs.

The wrapper around the application starts a Clock; the recorder adds each query and cache call to
the Clock of its context; the first middleware leaves the request here, for the route's name.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import Resolver404, resolve
from django.utils.crypto import salted_hmac

from performance.core.routes import readable

if TYPE_CHECKING:
    from django.http import HttpRequest

UNMATCHED = "(no route)"
STATIC = "(static files)"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATUS_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


class Clock:
    """One request's split of time; seconds.

    The class has the beginnings, and an instance only what was added: making one is half as dear.
    """

    request: HttpRequest | None = None
    sql_s = 0.0
    sql_count = 0
    cache_s = 0.0
    http_s = 0.0
    render_s = 0.0
    is_rendering = False
    error: BaseException | None = None

    @property
    def waited_s(self) -> float:
        """For PostgreSQL, the cache and other servers."""
        return self.sql_s + self.cache_s + self.http_s


current: ContextVar[Clock | None] = ContextVar("performance.monitoring.clock", default=None)


Where = tuple[str, str, bool]
"""Method; path or URL pattern; whether it is the pattern."""


def where(method: str, path: str, request: HttpRequest | None) -> Where:
    """Note where a request went, in what costs least while it runs; `label` reads it later."""
    if request is None:
        return method, path, False
    match = request.resolver_match
    return method, match.route if match else UNMATCHED, True


def label(endpoint: str | Where) -> str:
    """Return `GET api/v1/odds`: the URL pattern and never the path, so that labels stay few.

    An answer given before Django (by the cache's wrapper) has no pattern; its path is resolved
    and the result remembered. What is a label already is returned as it is.
    """
    if isinstance(endpoint, str):
        return endpoint
    method, text, is_pattern = endpoint
    verb = method if method in METHODS else "OTHER"
    return f"{verb} {readable(text) if is_pattern else _route_of_path(text)}"


@lru_cache(maxsize=4096)
def _route_of_path(path: str) -> str:
    if path.startswith(settings.STATIC_URL):
        return STATIC
    try:
        return readable(resolve(path).route)
    except Resolver404:
        return UNMATCHED


def who(request: HttpRequest | None) -> tuple[int | None, str]:
    """Return the user's id and the session's hash, as far as the view itself asked for them.

    Nothing is loaded for it, and the session's key never leaves the process.
    """
    if request is None:
        return None, ""
    user_id = getattr(getattr(request, "_cached_user", None), "pk", None)
    session = getattr(request, "session", None)
    key = session.session_key if session is not None and session.accessed else None
    return user_id, session_hash(key) if key else ""


def session_hash(key: str) -> str:
    """16 hexadecimal digits that tell sessions apart and lead back to none."""
    return salted_hmac("performance.monitoring.session", key).hexdigest()[:16]
