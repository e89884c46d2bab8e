"""Public cached answers given before Django: no middleware, no session, no URL resolver.

The wrapper learns from Django itself which other headers a route's answers carry (security
headers, CSP): the first answer of each route, scheme and host goes through Django, and its
headers are kept. So both ways out send the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import cachebox

from performance.caching import runtime as runtimes
from performance.caching.copies import Found
from performance.caching.errors import UnusableArgument
from performance.caching.families import Family
from performance.caching.http import (
    CACHE_NAME,
    OWN_HEADERS,
    Asked,
    answer,
    headers_change_s,
    measure_age,
)
from performance.caching.memory import Entry, Memory
from performance.caching.reading import from_memory

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

REMEMBERED_URLS = 4096
LEARNT_LIMIT = 256
ANSWERS_AN_ENTRY = 32
"""Kept answers of one entry: a few encodings, methods and ETags are asked for, not thousands."""
STATUS = {code: f"{code} {HTTPStatus(code).phrase}" for code in (200, 206, 304, 416)}
ROUTE_KEY = "protipp.route"
"""Where the wrapper leaves the route's path in the environ, for whoever counts requests."""


@dataclass(frozen=True, slots=True, eq=False)
class PublicRoute:
    path: str
    pattern: re.Pattern[str]
    family: Family[Any, Any]
    parameters: frozenset[str]
    arguments: Callable[..., tuple[Any, ...]]
    max_age_s: float
    outdated_s: float
    content_type: str


_routes: list[PublicRoute] = []


def public_route(
    path: str,
    family: Family[Any, bytes],
    *,
    parameters: Iterable[str] = (),
    arguments: Callable[..., tuple[Any, ...]] | None = None,
    max_age_s: float = 1,
    outdated_s: float = 0,
    content_type: str = "application/json",
) -> None:
    """Let stored answers of `path` be given before Django, as its view gives them.

    `path` may hold names, as `/api/v1/events/<key>`. `arguments(**values)` makes the family's
    arguments of those and of the query's declared `parameters`; by default the names are the
    family's own. ValueError, KeyError or TypeError from it, or any other query, leaves the
    request to the view.

    `outdated_s`: an answer that an invalidation ended may be given until it is so old, while it is
    refreshed behind. So a crowd need not wait each time that something changes, and what changes
    each second costs one computation a second. An edge keeps such an answer for a second at most.
    """
    pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", re.escape(path).replace(r"\<", "<"))
    _routes.append(
        PublicRoute(
            path,
            re.compile(pattern.replace(r"\>", ">")),
            family,
            frozenset(parameters),
            arguments or (lambda **values: family.bind((), values)),
            max_age_s,
            outdated_s,
            content_type,
        )
    )


Place = tuple[str, str, str]
"""Route, scheme and Host."""
Matched = tuple[PublicRoute, tuple[Any, ...], tuple[Any, ...]]
"""The route, its family's arguments, and their key in memory."""


class _Made:
    """An answer as WSGI takes it. `until_s` is the Unix time at which its headers change."""

    __slots__ = ("body", "headers", "status", "until_s")

    def __init__(
        self,
        route: PublicRoute,
        arguments: tuple[Any, ...],
        found: Found,
        asked: Asked,
        extra: list[tuple[str, str]],
    ) -> None:
        made = answer(
            route.family,
            arguments,
            found,
            asked,
            max_age_s=route.max_age_s,
            content_type=route.content_type,
        )
        self.status = STATUS[made.status]
        self.headers = made.headers + extra
        self.body = made.body
        self.until_s = headers_change_s(found)


class PublicAnswers:
    """The WSGI application around Django's. A hit in memory costs about 20 us."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._urls: cachebox.LRUCache[Any, Any] = cachebox.LRUCache(REMEMBERED_URLS)
        self._learnt: dict[Place, list[tuple[str, str]]] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._application(environ, start_response)
        matched = self._match(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        if matched is None:
            return self._application(environ, start_response)
        route, arguments, key = matched
        environ[ROUTE_KEY] = route.path
        place = (route.path, environ["wsgi.url_scheme"], environ.get("HTTP_HOST", ""))
        extra = self._learnt.get(place)
        if extra is None:
            return self._application(environ, self._learning(place, start_response))
        asked = Asked.of_environ(environ["REQUEST_METHOD"], environ)
        entry = route.family.memory.get_keyed(key)
        if entry is not None:
            made = self._made(route, arguments, entry, asked, place, extra)
        else:
            found = route.family.find_stored(arguments, outdated_s=route.outdated_s)
            if found is None:
                return self._application(environ, start_response)
            measure_age(route.family, found)
            made = _Made(route, arguments, found, asked, extra)
        # A copy: wrappers around us may add to it, as WSGI allows them.
        start_response(made.status, [*made.headers])
        return [made.body]

    @staticmethod
    def _made(
        route: PublicRoute,
        arguments: tuple[Any, ...],
        entry: Entry,
        asked: Asked,
        place: Place,
        extra: list[tuple[str, str]],
    ) -> _Made:
        """Return the answer made of this entry a moment ago, or make it.

        Its headers count whole seconds, so it stays true until the next one begins.
        """
        found = from_memory(route.family, entry)
        measure_age(route.family, found)
        if entry.answers is None:
            entry.answers = {}
        made: _Made | None = entry.answers.get((place, asked))
        if made is None or made.until_s <= runtimes.current().clock():
            made = _Made(route, arguments, found, asked, extra)
            if len(entry.answers) < ANSWERS_AN_ENTRY or (place, asked) in entry.answers:
                entry.answers[place, asked] = made
        return made

    def _match(self, path: str, query: str) -> Matched | None:
        matched: Matched | None = self._urls.get((path, query), None)
        if matched is not None:
            return matched
        matched = self._parse(path, query)
        if matched is not None:
            self._urls.insert((path, query), matched)
        return matched

    @staticmethod
    def _parse(path: str, query: str) -> Matched | None:
        for route in _routes:
            named = route.pattern.fullmatch(path)
            if named is None:
                continue
            pairs = parse_qsl(query, keep_blank_values=True)
            values = dict(pairs)
            if len(values) != len(pairs) or not values.keys() <= route.parameters:
                return None  # doubled or unknown: the view says what it thinks of that
            try:
                arguments = route.arguments(**named.groupdict(), **values)
                route.family.digest(arguments)
            except (ValueError, KeyError, TypeError, UnusableArgument):
                return None
            return route, arguments, Memory.key(arguments)
        return None

    def _learning(self, place: Place, start_response: StartResponse) -> StartResponse:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            extra = _learnable(status, headers)
            if extra is not None and len(self._learnt) < LEARNT_LIMIT:
                self._learnt[place] = extra
            return start_response(status, headers, *rest)

        return start


def _learnable(status: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """Return the headers that Django added to one of our answers; None when it is not for all.

    An answer that sets a cookie, or that varies with one, was made for its own client.
    """
    named = {name.lower(): value for name, value in headers}
    ours = named.get("cache-status", "").startswith(CACHE_NAME)
    public = named.get("cache-control", "").startswith("public")
    varies = named.get("vary", "").lower() in ("", "accept-encoding")
    if not (status.startswith("200") and ours and public and varies) or "set-cookie" in named:
        return None
    return [(name, value) for name, value in headers if name.lower() not in OWN_HEADERS]
