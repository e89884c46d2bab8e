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
    content_dated_s,
    headers_change_s,
    report_age,
)
from performance.caching.memory import Entry, Memory
from performance.caching.reading import from_memory, from_store

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

MOMENT_S = 0.05
"""What an invalidation ended, and the store has just allowed once more, all others get as well."""
REMEMBERED_URLS = 4096
LEARNT_LIMIT = 256
MADE_BYTES = 8 * 1024 * 1024
"""Room for answers that are ready to be given, in each process."""
LARGEST_MADE_BYTES = 1024 * 1024
"""One that is larger is made each time, and pushes no others out."""
MADE_OVERHEAD_BYTES = 2048
STATUS = {code: f"{code} {HTTPStatus(code).phrase}" for code in (200, 206, 304, 416)}
ROUTE_KEY = "protipp.route"
"""Where the wrapper leaves the route's path in the environ, for whoever counts requests."""
LEARN_KEY = "protipp.learn"
HEAD_KEY = "protipp.head"
"""What we tell ourselves through those who stand around Django."""


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
Headers = list[tuple[str, str]]


class _Made:
    """An answer as WSGI takes it, ready to be given until one of its headers changes."""

    __slots__ = (
        "again_until_s", "body", "dated_s", "entry", "headers", "of", "route", "status", "until_s",
    )  # fmt: skip

    def __init__(
        self,
        route: PublicRoute,
        found: Found,
        entry: Entry | None,
        status: str,
        headers: Headers,
        body: bytes,
    ) -> None:
        self.route = route
        self.of = _of(found)
        self.entry = entry
        """What in memory it was made of; None for what the store is to be asked for each time."""
        self.status = status
        self.headers = headers
        self.body = body
        self.dated_s = content_dated_s(route.family, found)
        self.until_s = headers_change_s(found)
        """Unix time."""
        outdated = found.source == "outdated"
        self.again_until_s = runtimes.current().clock() + MOMENT_S if outdated else 0.0
        """Until then it is given without asking the store, though memory has no entry."""


def _of(found: Found) -> tuple[Any, ...]:
    """Return what tells one value found from another, and so the answers made of them."""
    etag = getattr(found.held, "etag", None)
    return found.source, etag, found.created_s, found.fresh_until_s, found.ends_s


def _weight(asked: object, made: _Made) -> int:
    return len(made.body) + MADE_OVERHEAD_BYTES


class PublicAnswers:
    """The WSGI application around Django's. A hit in memory costs about 4 us.

    `around` is what else stands around Django and has a say in every answer: it wraps Django here,
    and each answer of ours once, when it is made, and not each time that it is given.
    """

    def __init__(
        self, application: Application, around: Callable[[Application], Application] | None = None
    ) -> None:
        self._django = application
        self._application = self._inside if around is None else around(self._inside)
        self._urls: cachebox.LRUCache[Any, Any] = cachebox.LRUCache(REMEMBERED_URLS)
        self._made: cachebox.LRUCache[Any, _Made] = cachebox.LRUCache(MADE_BYTES, getsizeof=_weight)
        self._learnt: dict[Place, Headers] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        get = environ.get
        asked = (
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            get("QUERY_STRING", ""),
            environ["wsgi.url_scheme"],
            get("HTTP_HOST", ""),
            get("HTTP_ACCEPT_ENCODING", ""),
            get("HTTP_IF_NONE_MATCH", ""),
            get("HTTP_RANGE", ""),
            get("HTTP_IF_RANGE", ""),
        )
        made: _Made | None = self._made.get(asked, None)
        if made is None or not _still_true(made):
            made = self._make(asked, environ)
            if made is None:
                return self._application(environ, start_response)
        else:
            environ[ROUTE_KEY] = made.route.path
        if made.dated_s is not None:
            report_age(made.route.family, made.dated_s)
        # A copy: wrappers around us may add to it, as WSGI allows them.
        start_response(made.status, [*made.headers])
        return [made.body]

    def _make(self, asked: tuple[str, ...], environ: Environ) -> _Made | None:
        """Make the answer of what memory or the store has; None leaves it to Django."""
        method, path, query, scheme, host = asked[:5]
        matched = self._match(path, query) if method in ("GET", "HEAD") else None
        if matched is None:
            return None
        route, arguments, key = matched
        environ[ROUTE_KEY] = route.path
        place = (route.path, scheme, host)
        extra = self._learnt.get(place)
        if extra is None:
            environ[LEARN_KEY] = place
            return None
        entry = route.family.memory.get_keyed(key)
        found = (
            from_store(
                route.family, arguments, route.family.load(arguments), outdated_s=route.outdated_s
            )
            if entry is None
            else from_memory(route.family, entry)
        )
        if found is None:
            return None
        last = self._made.get(asked)
        if last is not None and last.of == _of(found) and last.until_s > runtimes.current().clock():
            last.entry = entry
            return last  # the store has said that it is still the same
        told = answer(
            route.family,
            arguments,
            found,
            Asked(method, *asked[5:]),
            max_age_s=route.max_age_s,
            content_type=route.content_type,
        )
        status, headers = self._finished(environ, STATUS[told.status], told.headers + extra)
        made = _Made(route, found, entry, status, headers, told.body)
        if len(told.body) < LARGEST_MADE_BYTES:
            self._made.insert(asked, made)
        return made

    def _finished(self, environ: Environ, status: str, headers: Headers) -> tuple[str, Headers]:
        """Return what all that stands around Django makes of an answer's head."""
        said: list[tuple[str, Headers]] = []
        passing = {**environ, HEAD_KEY: (status, headers)}
        body = self._application(passing, lambda *head: said.append((head[0], head[1])))
        if callable(close := getattr(body, "close", None)):
            close()
        return said[0]

    def _inside(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Be to those around what Django is; for an answer of ours, its head alone."""
        head = environ.pop(HEAD_KEY, None)
        if head is not None:
            start_response(*head)
            return []
        place = environ.pop(LEARN_KEY, None)
        if place is not None:
            start_response = self._learning(place, start_response)
        return self._django(environ, start_response)

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


def _still_true(made: _Made) -> bool:
    """Count a hit when the answer may be given again, as `reading.from_memory` does."""
    entry, now_s = made.entry, runtimes.current().clock()
    if made.until_s <= now_s:
        return False
    if entry is None and now_s < made.again_until_s:  # a crowd, while the next is made
        made.route.family.counts.stale += 1
        return True
    if entry is None or not entry.alive():
        return False
    entry.hits += 1
    counts = made.route.family.counts
    counts.hit_l1 += 1
    counts.saved_us += entry.cost_us
    return True


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
