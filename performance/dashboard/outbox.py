"""What waits to be sent to one browser: a few messages, never more."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

DEPTH = 8
"""Differences that a slow browser may be behind before it gets a whole snapshot instead."""


class Outbox:
    """Bounded by `DEPTH`: beyond it all that waits is dropped, and the newest state stands for it.

    The channel layer's own queue has no bound, so its messages are moved here at once, and sending
    (which is as slow as the browser) happens in another task.
    """

    def __init__(self) -> None:
        self._waiting: deque[dict[str, Any]] = deque()
        self._ready = asyncio.Event()
        self.needs_snapshot = False
        self.newest = 0
        """The highest sequence offered: a snapshot that stands for it must not be older."""
        self.dropped = 0

    def offer(self, message: dict[str, Any]) -> None:
        self.newest = max(self.newest, message["sequence"])
        if len(self._waiting) >= DEPTH:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self.needs_snapshot = True
        self._waiting.append(message)
        self._ready.set()

    def ask(self) -> None:
        """The browser wants a snapshot."""
        self.needs_snapshot = True
        self._ready.set()

    def is_empty(self) -> bool:
        return not self._waiting and not self.needs_snapshot

    def forget(self, *, up_to: int) -> None:
        """Drop the differences that a snapshot with the sequence `up_to` holds already."""
        self._waiting = deque(
            message
            for message in self._waiting
            if message["type"] != "page.update" or message["sequence"] > up_to
        )

    def pop(self) -> dict[str, Any] | None:
        return self._waiting.popleft() if self._waiting else None

    async def wait(self) -> None:
        """Return once there is something to send."""
        self._ready.clear()
        if self.is_empty():
            await self._ready.wait()
