"""HTTP answers made of cached bodies: validators, freshness for browsers and edges, and 304.

`answer` is pure and serves both ways out: a Django view, and the wrapper before Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cachebox
import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from performance.caching import ranges
from performance.caching import runtime as runtimes
from performance.caching.bodies import Body
from performance.caching.copies import Found
from performance.caching.families import Family
from performance.caching.keys import edge_tag
from performance.core import signals

CACHE_NAME = "ProTipp"
OWN_HEADERS = frozenset(
    {
        "content-type",
        "content-length",
        "content-range",
        "accept-ranges",
        "content-encoding",
        "etag",
        "vary",
        "cache-control",
        "cdn-cache-control",
        "surrogate-key",
        "cache-tag",
        "cache-status",
    }
)
"""What `answer` says itself, in lower case; every other header is Django's."""

ENDED_GRACE_S = 2
"""How long what an invalidation ended may be given beyond its second while the next is asked for;
nothing at an edge, which hears of the invalidation."""

_dates: cachebox.LRUCache[tuple[str, str], float | None] = cachebox.LRUCache(1024)
"""(family, ETag): of which Unix time the content is; None when it does not say."""

_FORWARDED = {"miss": "fwd=uri-miss; stored", "bypass": "fwd=bypass"}


class Asked(msgspec.Struct, frozen=True):
    """What of a request decides over its answer."""

    method: str
    accept_encoding: str = ""
    if_none_match: str = ""
    range: str = ""
    if_range: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Asked:
        return cls.of_environ(request.method or "GET", request.META)

    @classmethod
    def of_environ(cls, method: str, environ: Mapping[str, Any]) -> Asked:
        return cls(
            method,
            environ.get("HTTP_ACCEPT_ENCODING", ""),
            environ.get("HTTP_IF_NONE_MATCH", ""),
            environ.get("HTTP_RANGE", ""),
            environ.get("HTTP_IF_RANGE", ""),
        )


class Answer(msgspec.Struct, frozen=True):
    status: int
    """200, 206, 304 or 416."""
    headers: list[tuple[str, str]]
    body: bytes
    """Empty for HEAD, 304 and 416."""


def cached_response(
    request: HttpRequest,
    family: Family[Any, bytes],
    *args: Any,
    max_age_s: float = 1,
    content_type: str = "application/json",
) -> HttpResponse:
    """Answer GET or HEAD with the bytes that `family(*args)` gives, computed if need be.

    `max_age_s` is how long a browser may answer from its own copy. A family with cdn="public" may
    be kept by shared caches, never beyond what the family allows; any other is private to one
    browser and asked about each time. What the family raises is raised.
    """
    found = family.find(*args)
    measure_age(family, found)
    made = answer(
        family,
        family.bind(args, {}),
        found,
        Asked.of(request),
        max_age_s=max_age_s,
        content_type=content_type,
    )
    return respond(made)


def respond(made: Answer) -> HttpResponse:
    """Return Django's response for an answer, with its headers and no others."""
    response = HttpResponse(made.body, status=made.status)
    del response["Content-Type"]
    for name, value in made.headers:
        response[name] = value
    return response


def answer(
    family: Family[Any, Any],
    arguments: tuple[Any, ...],
    found: Found,
    asked: Asked,
    *,
    max_age_s: float,
    content_type: str,
    vary: tuple[str, ...] = (),
) -> Answer:
    """Make the answer out of a found body; ImproperlyConfigured unless the family gives bytes.

    `vary` names the headers, besides Accept-Encoding, on which the body depends.
    """
    body = found.held
    if not isinstance(body, Body):
        raise ImproperlyConfigured(
            f"Family {family.name!r} has schema {family.schema!r}; an HTTP answer needs a family "
            "with schema=bytes, whose loader returns the body."
        )
    data, encoding, etag = body.choose(asked.accept_encoding)
    headers = [("ETag", etag), ("Cache-Status", cache_status(found))]
    headers += _freshness(family, arguments, found, max_age_s)
    if body.br is not None or body.gzip is not None:
        vary = (*vary, "Accept-Encoding")
    if vary:
        headers.append(("Vary", ", ".join(vary)))
    if asked.if_none_match and _matches(asked.if_none_match, etag):
        return Answer(304, headers, b"")
    headers += [("Content-Type", content_type), ("Accept-Ranges", "bytes")]
    if encoding:
        headers.append(("Content-Encoding", encoding))
    if asked.range and asked.method == "GET":  # any other method has no ranges
        part = ranges.wanted(asked.range, asked.if_range, etag, len(data))
        if part is not None:
            return _part(headers, data, *part)
    headers.append(("Content-Length", str(len(data))))
    return Answer(200, headers, b"" if asked.method == "HEAD" else data)


def _part(headers: list[tuple[str, str]], data: bytes, begin: int, end: int) -> Answer:
    if begin == end:
        headers += [("Content-Range", f"bytes */{len(data)}"), ("Content-Length", "0")]
        return Answer(416, headers, b"")
    headers.append(("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}"))
    headers.append(("Content-Length", str(end - begin)))
    return Answer(206, headers, data[begin:end])


def measure_age(family: Family[Any, Any], found: Found) -> None:
    """Report how old the content is that is served now, when the family says of when it is."""
    dated_s = content_dated_s(family, found)
    if dated_s is not None:
        report_age(family, dated_s)


def content_dated_s(family: Family[Any, Any], found: Found) -> float | None:
    """Return of which Unix time a body's content is; None when its family does not say."""
    if family.dated is None or not isinstance(found.held, Body):
        return None
    name = (family.name, found.held.etag)
    dated_s = _dates.get(name, -1.0)
    if dated_s == -1.0:  # read once a body, served many times
        dated_s = family.dated(found.held.identity)
        _dates.insert(name, dated_s)
    return dated_s


def report_age(family: Family[Any, Any], dated_s: float) -> None:
    age_s = max(0.0, runtimes.current().clock() - dated_s)
    signals.recorder.observe("price_age", family.name, age_s)


def cache_status(found: Found) -> str:
    """Return RFC 9211's Cache-Status: what was hit, how long it stays fresh, how old it is."""
    now_s = runtimes.current().clock()
    age_s = max(0, int(now_s - found.created_s))
    forwarded = _FORWARDED.get(found.source)
    if forwarded is not None:
        collapsed = "; collapsed" if found.shared else ""
        if not found.stored:
            forwarded = forwarded.removesuffix("; stored")
        return f"{CACHE_NAME}; {forwarded}{collapsed}"
    ttl_s = int(found.fresh_until_s - now_s)
    if found.source in ("stale", "outdated", "fallback"):
        ttl_s = min(ttl_s, -1)  # softly invalidated: stale, however young
    return f"{CACHE_NAME}; hit; ttl={ttl_s}; detail={found.source}; age={age_s}"


def headers_change_s(found: Found) -> float:
    """Return the Unix time at which a whole second in an answer's headers changes."""
    now_s = runtimes.current().clock()
    moments = (found.created_s, found.fresh_until_s, found.ends_s)
    return now_s + min(
        1.0 - (now_s - moments[0]) % 1.0, *((at - now_s) % 1.0 for at in moments[1:])
    )


def _freshness(
    family: Family[Any, Any], arguments: tuple[Any, ...], found: Found, max_age_s: float
) -> list[tuple[str, str]]:
    """Say how long others may keep it: all copies together stay within the family's own limit."""
    policy = family.policy
    if family.cdn is None or found.source == "bypass":
        return [("Cache-Control", "private, no-cache")]
    now_s = runtimes.current().clock()
    left_s = max(0.0, found.ends_s - now_s)
    fresh_s = int(min(max_age_s, left_s))
    fresh_for_s = 0.0 if found.source == "outdated" else found.fresh_until_s - now_s
    edge_s = int(min(max(1.0, fresh_for_s), left_s))
    tags = " ".join(edge_tag(tag) for tag in family.tags_of(arguments))
    ended = found.source == "outdated"
    grace = _grace(min(ENDED_GRACE_S, policy.stale_s) if ended else policy.stale_s, left_s, fresh_s)
    headers = [("Cache-Control", f"public, max-age={fresh_s}{grace}")]
    if policy.strategy == "cdn":
        grace = _grace(0.0 if ended else policy.stale_s, left_s, edge_s)
        headers.append(("CDN-Cache-Control", f"public, max-age={edge_s}{grace}"))
        headers.append(("Surrogate-Key", tags))
        headers.append(("Cache-Tag", tags.replace(" ", ",")))
    else:
        headers.append(("CDN-Cache-Control", "no-store"))
    return headers


def _grace(stale_s: float, left_s: float, fresh_s: int) -> str:
    on_error_s = max(0, int(left_s) - fresh_s)
    while_refreshing_s = min(int(stale_s), on_error_s)
    return f", stale-while-revalidate={while_refreshing_s}, stale-if-error={on_error_s}"


def _matches(if_none_match: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 has it for If-None-Match."""
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return etag in candidates or "*" in candidates
