"""The door of the caching room: what other rooms and apps may call."""

from __future__ import annotations

from performance.caching.errors import (
    RefreshFailed,
    StoreAway,
    UnknownFamily,
    UnusableArgument,
)
from performance.caching.families import Family, Peek
from performance.caching.manager import CacheManager, cache, cached

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
]
