"""How often someone may do something, counted over all nodes; on this node alone without a bus."""

from __future__ import annotations

import threading
import time
from typing import Any

from redis.exceptions import RedisError

from performance.core import stores

LOCAL_NAMES = 10_000  # counters kept when there is no bus; the oldest windows go first

_lock = threading.Lock()
_local: dict[str, tuple[float, int]] = {}  # name: (end of its window by the monotonic clock, count)


def hit(name: str, *, limit: int, window_s: int) -> int | None:
    """Count one; return None while within `limit`, else the seconds until the window ends.

    The window is fixed and begins with the first hit. One round trip.
    """
    try:
        count, left_s = _on_bus(name, window_s)
    except RedisError:
        count, left_s = _here(name, window_s)
    return None if count <= limit else max(left_s, 1)


def forget(name: str) -> None:
    """Start anew, after a success."""
    with _lock:
        _local.pop(name, None)
    try:
        stores.bus().delete(f"limits:{name}")
    except RedisError:
        return  # it ends by itself


def _on_bus(name: str, window_s: int) -> tuple[int, int]:
    key = f"limits:{name}"
    pipe: Any = stores.bus().pipeline(transaction=True)
    pipe.set(key, 0, ex=window_s, nx=True)
    pipe.incr(key)
    pipe.ttl(key)
    _, count, left_s = pipe.execute()
    return count, left_s


def _here(name: str, window_s: int) -> tuple[int, int]:
    now = time.monotonic()
    with _lock:
        ends, count = _local.get(name, (0.0, 0))
        if ends <= now:
            ends, count = now + window_s, 0
        _local[name] = (ends, count + 1)
        while len(_local) > LOCAL_NAMES:
            del _local[min(_local, key=lambda known: _local[known][0])]
        return count + 1, int(ends - now)
