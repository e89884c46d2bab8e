"""Snapshots for many sockets at once: a hundred that reconnect together cost one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels.db import database_sync_to_async

from performance.core import broadcast, pages

KEEP_S = 1.0


class Snapshots:
    """The newest snapshot of each page in this process; one for an event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def take(self, page: pages.Page, *, at_least: int) -> dict[str, Any]:
        """Return a snapshot at most `KEEP_S` old that holds the difference `at_least`.

        Whatever `page.snapshot()` raises goes on up.
        """
        async with self._locks.setdefault(page.slug, asyncio.Lock()):
            taken, snapshot = self._kept.get(page.slug, (0.0, {"sequence": -1}))
            if time.monotonic() - taken > KEEP_S or snapshot["sequence"] < at_least:
                taken = time.monotonic()
                gather = database_sync_to_async(broadcast.snapshot, thread_sensitive=False)
                snapshot = await gather(page)
                self._kept[page.slug] = (taken, snapshot)
            return snapshot
