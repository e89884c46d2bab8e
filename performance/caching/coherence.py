"""How the memory of this process hears of changes made anywhere: the store's own tracking push.

The server tells one connection of every write to a key under the generations' prefix
(`CLIENT TRACKING ON REDIRECT … BCAST`). While that connection is not certain, nothing in memory
is: it is emptied, and not used again until the push is back.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
ANSWER_WITHIN_S = 0.5
RECONNECT_S = 0.2
Away = (redis.RedisError, redis.RedisClusterException, OSError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server is, asked anew at each connection: another may have taken over from it."""

    pool: Callable[[], redis.ConnectionPool]
    mark: Callable[[], str]
    """A key that lies there: it says which run of a server all others come from."""
    still: Callable[[], bool] = lambda: True
    """Asked once a second: whether it is the one that writes go to."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a Follower calls, in its own thread."""

    changed: Callable[[list[str]], None]
    """With the tags that somebody has changed."""
    lost: Callable[[], None]
    """When changes may have gone unheard."""
    revived: Callable[[], None]
    """When the server has come back with what it, or the one before it, held some time ago: from a
    snapshot, or as a replica that took over. Invalidations may be missing in that."""


class Follower(threading.Thread):
    """Follows one server."""

    def __init__(self, prefix: str, place: Place, listener: Listener) -> None:
        super().__init__(name="cache-follower", daemon=True)
        self._prefix = prefix
        self._place = place
        self._told = listener
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
            pool = None
            try:
                pool = self._place.pool()
                self._follow(pool.get_connection(), pool.get_connection())
            except Away as error:
                if self.hearing:
                    logger.warning(
                        "Lost the cache server's push: %s. Memory is off.", str(error).rstrip(".")
                    )
            finally:
                self._deaf()
                if pool is not None:
                    pool.disconnect()
            self._stopping.wait(RECONNECT_S)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout=HEARTBEAT_S + ANSWER_WITHIN_S)

    def _follow(self, listener: Any, tracker: Any) -> None:
        own_id = int(_ask(listener, "CLIENT", "ID"))
        _ask(listener, "SUBSCRIBE", "__redis__:invalidate")
        follow = ("ON", "REDIRECT", own_id, "BCAST", "PREFIX", self._prefix)
        _ask(tracker, "CLIENT", "TRACKING", *follow)
        mark, run = self._place.mark(), _run_id(tracker)
        before = _ask(tracker, "GET", mark)
        if before not in (None, run):
            self._told.revived()
        self._told.lost()  # what memory learnt before this moment was told by nobody
        self.hearing = True
        heard_at = time.monotonic()
        beat_at = heard_at - HEARTBEAT_S
        while not self._stopping.is_set():
            if listener.can_read(timeout=0.1):
                self._hear(listener.read_response())
                heard_at = time.monotonic()
            now = time.monotonic()
            if now - beat_at >= HEARTBEAT_S:
                beat_at = self._asked_at = now
                listener.send_command("PING")
                _ask(tracker, "SET", mark, run)  # a replica refuses this, and is left
                if not self._place.still():
                    raise redis.ConnectionError("another server has taken over")
            if now - heard_at > HEARTBEAT_S + ANSWER_WITHIN_S:
                raise redis.TimeoutError(f"no answer for {now - heard_at:.1f} s")

    def _hear(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            self.lag_ms = (time.monotonic() - self._asked_at) * 1000  # the answer to a PING
            return
        self.pushes += 1
        if message[2] is None:  # the server was flushed
            self._told.lost()
        else:
            start = len(self._prefix)
            self._told.changed([key.decode(errors="replace")[start:] for key in message[2]])

    def _deaf(self) -> None:
        if self.hearing:
            self.hearing = False
            self.losses += 1
            self._told.lost()


def _ask(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _run_id(connection: Any) -> bytes:
    """Return what the server calls this run of itself; ConnectionError when it does not say."""
    found = re.search(rb"run_id:(\w+)", _ask(connection, "INFO", "server"))
    if found is None:
        raise redis.ConnectionError("INFO server names no run_id")
    return found[1]
