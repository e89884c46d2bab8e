"""What the cache invalidates, told to the edge: gathered for a moment, so that one purge says it.

A moving market invalidates several times a second. The first of a calm time goes out after
`GATHER_S`; then a process sends at most one purge of each softness every `purge_every_s`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable

from django.db import DatabaseError, connections

from performance.cdn.conf import conf
from performance.cdn.errors import InvalidPurge, NoCdn
from performance.cdn.ledger import check_targets

logger = logging.getLogger(__name__)

GATHER_S = 0.1
RETRY_S = 1.0
WAITING_LIMIT = 10_000
"""Tags kept while PostgreSQL is away; beyond it the edge's own limit of age has to do."""

Purge = Callable[[list[str], bool], object]


class Gatherer:
    """Gathers tags from any thread; its own thread lives only while something waits."""

    def __init__(self, purge: Purge) -> None:
        self._purge = purge
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.flush)  # a command that invalidates ends before its moment is over

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._soft: dict[str, bool] = {}
        self._thread: threading.Thread | None = None
        self._sent_at = float("-inf")

    def add(self, tags: Iterable[str], *, soft: bool) -> None:
        """Let the edge be told soon; never waits, never raises. Hard wins over soft."""
        with self._lock:
            self._keep(dict.fromkeys(tags, soft))
            if self._soft and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cdn-purges", daemon=True)
                self._thread.start()

    def _keep(self, soft: dict[str, bool]) -> None:
        for tag, is_soft in soft.items():
            if tag in self._soft or len(self._soft) < WAITING_LIMIT:
                self._soft[tag] = self._soft.get(tag, True) and is_soft

    def _run(self) -> None:
        while True:
            since_s = time.monotonic() - self._sent_at
            time.sleep(max(GATHER_S, conf().purge_every_s - since_s))
            if not self.flush():
                time.sleep(RETRY_S)
            with self._lock:
                if not self._soft:
                    self._thread = None
                    break
        connections.close_all()  # this thread's own

    def flush(self) -> bool:
        """Send what waits, now; False when PostgreSQL is away, and then it waits on."""
        with self._lock:
            waiting, self._soft = self._soft, {}
        for soft in (False, True):
            tags = [tag for tag, is_soft in waiting.items() if is_soft is soft and _fits(tag)]
            if not tags:
                continue
            try:
                self._purge(tags, soft)
            except NoCdn:
                return True
            except DatabaseError as error:
                logger.warning("The purge of %d tags waits for PostgreSQL: %s", len(tags), error)
                with self._lock:
                    self._keep(waiting)
                return False
            self._sent_at = time.monotonic()
        return True


def _fits(tag: str) -> bool:
    try:
        check_targets((), (tag,))
    except InvalidPurge as error:
        logger.error("The edge is not told: %s", error)
        return False
    return True
