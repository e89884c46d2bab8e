"""How the memory of this process hears of changes made anywhere: the store's own tracking push.

The server tells one connection of every write to a key under the generations' prefix
(`CLIENT TRACKING ON REDIRECT … BCAST`). While that connection is not certain, nothing in memory
is: it is emptied, and not used again until the push is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
ANSWER_WITHIN_S = 0.5
RECONNECT_S = 0.2


class Follower(threading.Thread):
    """Calls `changed(keys)` for each push and `lost()` when it can no longer hear them."""

    def __init__(
        self, prefix: str, *, changed: Callable[[list[str]], None], lost: Callable[[], None]
    ) -> None:
        super().__init__(name="cache-follower", daemon=True)
        self._prefix = prefix
        self._changed = changed
        self._lost = lost
        self._stopping = threading.Event()
        self.hearing = False
        """True while every change is heard of; only then may memory answer."""
        self.pushes = 0
        self.losses = 0
        self.lag_ms: float | None = None
        """How long the last heartbeat took on the way that pushes take; None before the first."""
        self._asked_at = 0.0

    def run(self) -> None:
        while not self._stopping.is_set():
            pool = self._pool()
            try:
                self._follow(pool.get_connection(), pool.get_connection())
            except (redis.RedisError, OSError) as error:
                if self.hearing:
                    logger.warning("Lost the cache server's push: %s. Memory is off.", error)
            finally:
                self._deaf()
                pool.disconnect()
            self._stopping.wait(RECONNECT_S)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=HEARTBEAT_S + ANSWER_WITHIN_S)

    def _pool(self) -> redis.ConnectionPool:
        return redis.ConnectionPool.from_url(
            settings.CACHE_URL,
            protocol=2,  # under RESP3 a redirected push hangs
            socket_timeout=ANSWER_WITHIN_S,
            socket_connect_timeout=ANSWER_WITHIN_S,
            max_connections=2,
        )

    def _follow(self, listener: Any, tracker: Any) -> None:
        listener.send_command("CLIENT", "ID")
        listener_id = int(listener.read_response())
        listener.send_command("SUBSCRIBE", "__redis__:invalidate")
        listener.read_response()
        tracker.send_command(
            "CLIENT", "TRACKING", "ON", "REDIRECT", listener_id, "BCAST", "PREFIX", self._prefix
        )
        tracker.read_response()
        self._lost()  # what memory learnt before this moment was told by nobody
        self.hearing = True
        heard_at = time.monotonic()
        beat_at = heard_at
        while not self._stopping.is_set():
            if listener.can_read(timeout=0.1):
                self._hear(listener.read_response())
                heard_at = time.monotonic()
            now = time.monotonic()
            if now - beat_at >= HEARTBEAT_S:
                beat_at = self._asked_at = now
                listener.send_command("PING")
                tracker.send_command("PING")
                tracker.read_response()
            if now - heard_at > HEARTBEAT_S + ANSWER_WITHIN_S:
                raise redis.TimeoutError(f"no answer for {now - heard_at:.1f} s")

    def _hear(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            self.lag_ms = (time.monotonic() - self._asked_at) * 1000  # the answer to a PING
            return
        self.pushes += 1
        if message[2] is None:  # the server was flushed
            self._lost()
        else:
            start = len(self._prefix)
            self._changed([key.decode(errors="replace")[start:] for key in message[2]])

    def _deaf(self) -> None:
        if self.hearing:
            self.hearing = False
            self.losses += 1
            self._lost()
