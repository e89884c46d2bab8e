"""The door of the caching room: what other rooms and apps may call."""

from __future__ import annotations

from collections.abc import Callable

from performance.caching.advising import Advice
from performance.caching.configuring import forget_row, row_of
from performance.caching.configuring import publish as publish_settings
from performance.caching.copies import Peek
from performance.caching.errors import (
    LoaderTooSlow,
    OriginBusy,
    RefreshFailed,
    StoreAway,
    UnknownFamily,
    UnusableArgument,
    UnusableRule,
)
from performance.caching.families import Family
from performance.caching.http import cached_response
from performance.caching.inspecting import Inspected, inspect
from performance.caching.keytext import signature
from performance.caching.looking import stored_keys
from performance.caching.manager import CacheManager, cache, cached
from performance.caching.overview import settings_in_force
from performance.caching.policy import STRATEGIES
from performance.caching.purging import (
    Target,
    foresee_purge,
    foresee_warming,
    purge,
    warm_for,
    warming_plan,
)
from performance.caching.views import cached_view
from performance.caching.warming import Warmed, Warming, in_use
from performance.caching.wsgi import Application, PublicAnswers, public_route

__all__ = [
    "STRATEGIES",
    "Advice",
    "CacheManager",
    "Family",
    "Inspected",
    "LoaderTooSlow",
    "OriginBusy",
    "Peek",
    "RefreshFailed",
    "StoreAway",
    "Target",
    "UnknownFamily",
    "UnusableArgument",
    "UnusableRule",
    "Warmed",
    "Warming",
    "cache",
    "cached",
    "cached_response",
    "cached_view",
    "foresee_purge",
    "foresee_warming",
    "forget_row",
    "in_use",
    "inspect",
    "public_route",
    "publish_settings",
    "purge",
    "row_of",
    "settings_in_force",
    "signature",
    "stored_keys",
    "warm_for",
    "warming_plan",
    "wsgi_cache",
]


def wsgi_cache(
    application: Application, around: Callable[[Application], Application] | None = None
) -> Application:
    """Answer the routes of `public_route` from the cache; hand everything else on.

    `around` wraps whatever is answered, Django's answers and the cache's alike.
    """
    return PublicAnswers(application, around)
