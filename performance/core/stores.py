"""Clients of the two Redis-compatible servers. One client a process and server, bounded in time.

`bus` holds what must not be evicted (registry, locks, streams, broadcasts); `cache_store` holds
what may be. redis-py's pools notice a fork by themselves and open sockets anew.
"""

from __future__ import annotations

import functools

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

BUS_TIMEOUT_S = 1.0
CACHE_TIMEOUT_S = 0.05
"""Beyond this a cache is slower than what it stands before."""


@functools.cache
def bus() -> redis.Redis:
    """Return the client of `REDIS_URL`; answers are bytes."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=BUS_TIMEOUT_S,
        socket_connect_timeout=BUS_TIMEOUT_S,
        protocol=2,  # redis-py 8 defaults to RESP3, under which CLIENT TRACKING redirects hang
        # redis-py's own default tries three times more, seconds apart: a dead bus would hang acts.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


@functools.cache
def cache_store() -> redis.Redis:
    """Return the client of `CACHE_URL`; answers are bytes."""
    return redis.Redis.from_url(
        settings.CACHE_URL,
        socket_timeout=CACHE_TIMEOUT_S,
        socket_connect_timeout=CACHE_TIMEOUT_S,
        protocol=2,
        # redis-py's own default tries a timeout three times more; once more, and only on a socket
        # that a restarted server has closed, is what a cache can afford.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def forget() -> None:
    """Drop the clients, for tests that point the settings at other servers."""
    bus.cache_clear()
    cache_store.cache_clear()
