"""Once a second, each watched page's difference goes to those who watch it.

A page has a worker of its own while it gathers, so that a slow one delays no other; while it is
not done it is not asked again. Pages that nobody watches cost nothing.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor

import redis
from django.db import DatabaseError, close_old_connections

from performance.core import broadcast, pages, signals
from performance.core.errors import PerformanceError
from performance.monitoring.conf import conf

logger = logging.getLogger(__name__)

WORKERS = 8


class Pusher:
    """Owned by the monitor's loop; `push` never waits."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="page")
        self._running: dict[str, tuple[Future[None], float]] = {}
        self._stuck: set[str] = set()
        self._failing: set[str] = set()

    def push(self) -> list[str]:
        """Start a worker for each watched page; return the slugs that were started."""
        started = []
        for slug in broadcast.watched():
            page = pages.get(slug)
            if page is None or self._is_busy(slug):
                continue
            self._running[slug] = (self._pool.submit(self._gather, page), time.monotonic())
            started.append(slug)
        return started

    def _is_busy(self, slug: str) -> bool:
        running = self._running.get(slug)
        if running is None or running[0].done():
            if slug in self._stuck:
                self._stuck.discard(slug)
                logger.warning("The page %s answers again.", slug)
            return False
        signals.recorder.count("page", f"{slug}:skipped")
        if time.monotonic() - running[1] > conf().page_timeout_s and slug not in self._stuck:
            self._stuck.add(slug)
            logger.warning(
                "The page %s has gathered for more than %.0f s; it is skipped until it is done.",
                slug,
                conf().page_timeout_s,
            )
        return True

    def _gather(self, page: pages.Page) -> None:
        close_old_connections()
        started = time.perf_counter()
        try:
            broadcast.publish(page.slug, page.changes())
        except Exception as error:  # noqa: BLE001 - a page is any room's code; it must not end us
            self._failed(page.slug, error)
        else:
            self._failing.discard(page.slug)
        finally:
            close_old_connections()
            signals.recorder.observe("page", page.slug, time.perf_counter() - started)

    def _failed(self, slug: str, error: Exception) -> None:
        signals.recorder.count("page", f"{slug}:failed")
        if slug in self._failing:
            return
        self._failing.add(slug)
        expected = isinstance(error, PerformanceError | DatabaseError | redis.RedisError | OSError)
        logger.warning(
            "The page %s could not gather its changes (%s: %s); its watchers hear nothing.",
            slug,
            type(error).__name__,
            error,
            exc_info=None if expected else error,
        )

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
