"""Who waits for a connection: every process with a pool tells the bus how it stands.

A pool's numbers live in its own process and the staff page is another's. So a thread a process
writes them into one hash every two seconds; what a process that has ended wrote is forgotten by its
age. A process without a pool keeps one connection a thread: there nobody ever waits.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import redis
from django.conf import settings

from performance.core import stores

logger = logging.getLogger(__name__)

KEY = "queries:pools"
PERIOD_S = 2.0
WINDOW_S = 60.0
"""What was counted is told of this time."""
GONE_S = 10.0
"""A process not heard of for so long has ended or is cut off."""
KEPT_S = 3600
COUNTED = ("requests_num", "requests_queued", "requests_wait_ms", "requests_errors")


class PoolWatch:
    """The pools of one process, by the alias of their database; `start` lets it tell of them."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._pools: dict[str, Any] = {}
        self._before: dict[str, deque[tuple[float, dict[str, int]]]] = {}
        self._lock = threading.Lock()
        self._bus_is_away = False

    def add(self, alias: str, pool: Any) -> None:
        """Tell of this pool from now on. Costs a look-up once it is known."""
        if self._pools.get(alias) is pool:
            return
        with self._lock:
            self._before[alias] = deque([(self._clock(), dict.fromkeys(COUNTED, 0))])
            self._pools[alias] = pool

    def start(self) -> PoolWatch:
        threading.Thread(target=self._run, name="pools", daemon=True).start()
        return self

    def readings(self) -> list[dict[str, Any]]:
        """Return how each pool stands, and what its askers waited within the last minute."""
        return [self._reading(alias, pool) for alias, pool in list(self._pools.items())]

    def _reading(self, alias: str, pool: Any) -> dict[str, Any]:
        now, stats = self._clock(), pool.get_stats()
        counted = {name: int(stats.get(name, 0)) for name in COUNTED}
        before = self._before[alias]
        while len(before) > 1 and before[1][0] <= now - WINDOW_S:
            before.popleft()
        since = {name: counted[name] - before[0][1][name] for name in COUNTED}
        before.append((now, counted))
        return {
            "name": _said(settings.NODE_ID, settings.PROCESS),
            "pid": os.getpid(),
            "alias": alias,
            "most": int(stats.get("pool_max", 0)),
            "in_use": int(stats.get("pool_size", 0)) - int(stats.get("pool_available", 0)),
            "waiting": int(stats.get("requests_waiting", 0)),
            "asked": since["requests_num"],
            "waited": since["requests_queued"],
            "wait_ms": since["requests_wait_ms"],
            "mean_wait_ms": since["requests_wait_ms"] / max(1, since["requests_queued"]),
            "refused": since["requests_errors"],
            "seen_unix_s": now,
        }

    def tell(self) -> bool:
        """Write the readings to the bus; False when it does not take them, which hurts nobody."""
        told = {_name(one): json.dumps(one) for one in self.readings()}
        try:
            bus = stores.bus()
            bus.hset(KEY, mapping=cast("dict[Any, Any]", told))
            bus.expire(KEY, KEPT_S)
        except redis.RedisError as error:
            if not self._bus_is_away:
                logger.warning("How the pools stand is not told, the bus is away: %s", error)
            self._bus_is_away = True
            return False
        self._bus_is_away = False
        return True

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            self.tell()


def _said(node: str, process: str) -> str:
    """Return `web-1`, whose name says what it is, but `n7 web`."""
    return node if process in node else f"{node} {process}"


def _name(reading: dict[str, Any]) -> str:
    return "|".join(str(reading[part]) for part in ("name", "pid", "alias"))


_watch: tuple[int, PoolWatch] | None = None


def watch() -> PoolWatch:
    """Return this process's watch; the child of a fork has one of its own."""
    global _watch
    if _watch is None or _watch[0] != os.getpid():
        _watch = (os.getpid(), PoolWatch().start())
    return _watch[1]


def reported(*, now_unix_s: float | None = None) -> list[dict[str, Any]]:
    """Return what every process told lately, those with the most waiting first.

    Empty while the bus is away, and where no process has a pool.
    """
    now = time.time() if now_unix_s is None else now_unix_s
    try:
        bus = stores.bus()
        stored = cast("dict[bytes, bytes]", bus.hgetall(KEY))
        found = {name: json.loads(text) for name, text in stored.items()}
        gone = [name for name, one in found.items() if now - one["seen_unix_s"] > GONE_S]
        if gone:
            bus.hdel(KEY, *cast("list[Any]", gone))
    except redis.RedisError:
        return []
    alive = [{"key": name.decode(), **one} for name, one in found.items() if name not in gone]
    return sorted(alive, key=lambda one: (-one["waiting"], -one["wait_ms"], one["key"]))
