"""Clients of the two Redis-compatible servers. One client a process and server, bounded in time.

`bus` holds what must not be evicted (registry, locks, streams, broadcasts); `cache_store` holds
what may be. redis-py's pools notice a fork by themselves and open sockets anew.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from performance.core import topology

BUS_TIMEOUT_S = 1.0
CACHE_TIMEOUT_S = 0.05
"""Beyond this a cache is slower than what it stands before."""


CACHE_OPTIONS: dict[str, Any] = {
    "socket_timeout": CACHE_TIMEOUT_S,
    "socket_connect_timeout": CACHE_TIMEOUT_S,
    "protocol": 2,
}


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


def cache_topology() -> topology.Topology:
    """Return where `CACHE_URL` points; ImproperlyConfigured when it says nothing."""
    return topology.parse(settings.CACHE_URL, name="CACHE_URL")


@functools.cache
def cache_store() -> redis.Redis:
    """Return the client of `CACHE_URL`; answers are bytes.

    A cluster's client has the same commands, but for those with keys of several slots.
    """
    there = cache_topology()
    # redis-py's own default tries a timeout three times more; once more, and only on a socket
    # that a restarted server has closed, is what a cache can afford.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    options: dict[str, Any] = {**CACHE_OPTIONS, **dict(there.options), "retry": retry}
    if there.kind == "plain":
        return redis.Redis.from_url(there.url, **options)
    if there.kind == "sentinel":
        master: redis.Redis = sentinels().master_for(there.service, **options)  # type: ignore[no-untyped-call]
        return master
    return cast("redis.Redis", _cluster(there, options))


def _cluster(there: topology.Topology, options: dict[str, Any]) -> redis.RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in there.nodes]  # type: ignore[no-untyped-call]
    # Slots without a node cost their own keys a miss, and not the other slots theirs.
    return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)


def sentinels() -> Sentinel:
    """Return the sentinels of `CACHE_URL`, asked within the same bounds."""
    there = cache_topology()
    return Sentinel(list(there.nodes), sentinel_kwargs=CACHE_OPTIONS)  # type: ignore[no-untyped-call]


def forget() -> None:
    """Drop the clients, for tests that point the settings at other servers."""
    bus.cache_clear()
    cache_store.cache_clear()
