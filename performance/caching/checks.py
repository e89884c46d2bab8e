"""Findings of `manage.py check`; those that ask a server only with `--deploy`.

`check --deploy` runs in builds too, where no server is: one that does not answer is no finding.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from datetime import datetime, time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from performance.caching import looking
from performance.caching import runtime as runtimes
from performance.caching.errors import StoreAway
from performance.core import stores

OLDEST_SERVER = (7, 0)
"""SET with NX and GET at once came with Redis 7.0; CLIENT TRACKING with 6."""
MANY_KEYS_SHARE = 0.8
"""Of the budget of entries a family has: beyond it new keys will soon be served and not stored."""


@register("caching")
def two_servers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.CACHE_URL != settings.REDIS_URL:
        return []
    return [
        Error(
            "CACHE_URL and REDIS_URL are the same: a cache must evict, a broker must not.",
            hint="Give the cache a server of its own, with maxmemory and allkeys-lru.",
            id="performance_caching.E001",
        )
    ]


@register("caching")
def protocol(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Under RESP3 a redirected push never arrives, and memory would be off for ever."""
    asked = parse_qs(urlsplit(settings.CACHE_URL).query).get("protocol", [])
    if all(version == "2" for version in asked):
        return []
    return [
        Error(
            f"CACHE_URL asks for protocol {asked[0]}; the push of invalidations needs 2.",
            hint=f"Take ?protocol={asked[0]} out of CACHE_URL.",
            id="performance_caching.E003",
        )
    ]


@register("caching")
def endless_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A float or a moment among the arguments gives nearly every call a key of its own."""
    return [
        Warning(
            f"The argument {name!r} of the cached family {family.name!r} is a {kind.__name__}: "
            "nearly every call would have a key of its own, and none would be hit.",
            hint="Round it to what the answer really depends on, and declare that "
            "(a date, an int of minutes), or silence this check if callers do.",
            obj=family.__wrapped__,
            id="performance_caching.W004",
        )
        for family in list(runtimes.families().values())
        for name, kind in _endless(family.__wrapped__)
    ]


@register("caching_servers", deploy=True)
def eviction(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Ask both servers for their policies; bounded to a second each."""
    found: list[CheckMessage] = []
    for name, client, evicts in (
        ("CACHE_URL", stores.cache_store(), True),
        ("REDIS_URL", stores.bus(), False),
    ):
        try:
            info: Any = client.info("memory")
        except (redis.RedisError, OSError):
            continue
        policy = info["maxmemory_policy"]
        if (policy != "noeviction") != evicts:
            wanted = "allkeys-lru" if evicts else "noeviction"
            found.append(
                Warning(
                    f"The server of {name} has maxmemory-policy {policy}.",
                    hint=f"Set maxmemory-policy {wanted} there.",
                    id="performance_caching.W002",
                )
            )
        if evicts and not info["maxmemory"]:
            found.append(
                Warning(
                    f"The server of {name} has no maxmemory: it grows until the machine is full.",
                    hint="Set maxmemory there, to what the cache may have.",
                    id="performance_caching.W006",
                )
            )
    return found


@register("caching_servers", deploy=True)
def server_version(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        info: Any = stores.cache_store().info("server")
    except (redis.RedisError, OSError):
        return []
    if "valkey_version" in info:  # 7.2 was the first
        return []
    version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    if version >= OLDEST_SERVER:
        return []
    return [
        Error(
            f"The server of CACHE_URL is Redis {info['redis_version']}.",
            hint="Redis 7.0 or Valkey is needed: leases and generations use SET with NX and GET.",
            id="performance_caching.E005",
        )
    ]


@register("caching_servers", deploy=True)
def cardinality(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Count what is stored, by a bounded look, against the budget of each family."""
    try:
        look = looking.by_family()
    except StoreAway:
        return []
    families = runtimes.families()
    return [
        Warning(
            f"The family {name!r} has {number:,} keys in the store, of the "
            f"{families[name].budget.limit:,} that it may have.",
            hint="Its arguments take too many values: declare fewer, or round them; or raise "
            "`entries` of the family when that many are wanted.",
            obj=families[name].__wrapped__,
            id="performance_caching.W007",
        )
        for name, number in sorted(look.found.items())
        if name in families and number >= families[name].budget.limit * MANY_KEYS_SHARE
    ]


def _endless(loader: Callable[..., Any]) -> list[tuple[str, type]]:
    try:
        hints = typing.get_type_hints(loader)
    except (NameError, TypeError):  # a name that only a type checker sees
        return []
    return [
        (name, hints[name])
        for name in inspect.signature(loader).parameters
        if hints.get(name) in (float, datetime, time)
    ]
