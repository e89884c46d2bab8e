"""What each answer tells the edge: its tags and age in the edge's own words, or to keep out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from performance.cdn.budget import SITE, section
from performance.cdn.providers.base import Provider

Headers = list[tuple[str, str]]

EDGE_HEADERS = frozenset(
    {"surrogate-key", "surrogate-control", "cache-tag", "cdn-tag", "cdn-cache-control"}
)
PRIVATE = ("private", "no-store")


def wrap(
    application: Callable[..., Iterable[bytes]], edge: Provider | None
) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application with its answers speaking to `edge`; as it is without one."""
    if edge is None:
        return application

    def spoken(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *more: Any) -> Any:
            return start_response(status, told(headers, environ["PATH_INFO"], edge), *more)

        return application(environ, start)

    return spoken


def told(headers: Headers, path: str, edge: Provider) -> Headers:
    """Return an answer's headers as this edge understands them.

    An answer that is private, or sets a cookie, loses all that would invite an edge to keep it;
    one that is public and sets a cookie becomes private: somebody's cookie is never for others.
    """
    by_name = {name.lower(): value for name, value in headers}
    cache_control = by_name.get("cache-control", "")
    sets_cookie = "set-cookie" in by_name
    if sets_cookie or any(word in cache_control for word in PRIVATE):
        kept = [(name, value) for name, value in headers if name.lower() not in EDGE_HEADERS]
        if sets_cookie and "public" in cache_control:
            kept = [(name, value) for name, value in kept if name.lower() != "cache-control"]
            kept.append(("Cache-Control", "private, no-cache"))
        return kept
    if "surrogate-key" not in by_name:
        return headers
    ours = _spoken(
        edge,
        by_name["surrogate-key"],
        section(path),
        by_name.get("cdn-cache-control", ""),
        cache_control,
    )
    replaced = {name.lower() for name, _ in ours} | EDGE_HEADERS
    return [*((name, value) for name, value in headers if name.lower() not in replaced), *ours]


@lru_cache(maxsize=4096)
def _spoken(
    edge: Provider, keys: str, in_section: str, directives: str, cache_control: str
) -> tuple[tuple[str, str], ...]:
    # The widest tags come first: where an edge reads only some, these must be among them.
    tags = list(dict.fromkeys((SITE, in_section, *keys.split())))
    found = dict(edge.headers(tags))
    if directives:
        found |= edge.freshness(directives, cache_control)
    return tuple(found.items())
