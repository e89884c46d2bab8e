"""The door of the caching room: what other rooms and apps may call."""

from __future__ import annotations

from performance.caching.errors import (
    RefreshFailed,
    StoreAway,
    UnknownFamily,
    UnusableArgument,
)
from performance.caching.families import Family, Peek
from performance.caching.http import cached_response
from performance.caching.manager import CacheManager, cache, cached
from performance.caching.wsgi import Application, PublicAnswers, public_route

__all__ = [
    "CacheManager",
    "Family",
    "Peek",
    "RefreshFailed",
    "StoreAway",
    "UnknownFamily",
    "UnusableArgument",
    "cache",
    "cached",
    "cached_response",
    "public_route",
    "wsgi_cache",
]


def wsgi_cache(application: Application) -> Application:
    """Answer the routes of `public_route` from the cache; hand everything else on."""
    return PublicAnswers(application)
