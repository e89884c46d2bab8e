"""Which values anybody asked for lately, so that beat warms what is read and nothing else.

A reader's process notes what it asks the store for, which for a value in use is at least once each
`memory_s`, so that reads from memory cost nothing for it. The keeper sends the notes to the bus.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from performance.core import stores

ASKED = "caching:asked"
"""A sorted set of the store's keys, by the Unix time at which each was last asked for."""
KEPT_S = 3600
KEYS_KEPT = 20_000
"""Those asked for last: the bus evicts nothing, so nobody may fill it by asking for more."""
NOTES_LIMIT = 2_000
"""Between two ticks; more values than that are not what a family would warm."""


class Notes:
    """One process's; adding is one step under the interpreter's lock."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def add(self, key: str) -> None:
        if len(self._keys) < NOTES_LIMIT:
            self._keys.add(key)

    def send(self) -> None:
        """Tell the bus; what it does not take is told by the next read. redis.RedisError."""
        keys, self._keys = self._keys, set()
        if not keys:
            return
        now_s = time.time()
        pipeline = stores.bus().pipeline(transaction=False)
        pipeline.zadd(ASKED, dict.fromkeys(keys, now_s))
        pipeline.zremrangebyscore(ASKED, "-inf", now_s - KEPT_S)
        pipeline.zremrangebyrank(ASKED, 0, -KEYS_KEPT - 1)
        pipeline.expire(ASKED, KEPT_S)
        pipeline.execute()


def asked_within(keys: Sequence[str], seconds: float) -> list[bool]:
    """Return of each key whether anybody asked for it in the last `seconds`, an hour at most.

    One round trip. redis.RedisError when the bus is away.
    """
    if not keys:
        return []
    since_s = time.time() - seconds
    scores: Any = stores.bus().zmscore(ASKED, list(keys))
    return [score is not None and score >= since_s for score in scores]
