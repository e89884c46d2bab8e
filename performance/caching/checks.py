"""Findings of `manage.py check`; those that ask a server only with `--deploy`."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from performance.core import stores


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


@register("caching_servers", deploy=True)
def eviction(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Ask both servers for their policies; only `check --deploy` does, bounded to a second each."""
    found: list[CheckMessage] = []
    for name, client, evicts in (
        ("CACHE_URL", stores.cache_store(), True),
        ("REDIS_URL", stores.bus(), False),
    ):
        try:
            info: Any = client.info("memory")
        except (redis.RedisError, OSError):
            continue  # `check --deploy` runs in builds too, where no server is
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
    return found
