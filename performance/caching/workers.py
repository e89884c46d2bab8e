"""The few threads that refresh behind the scenes: bounded, and one job a key at a time."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections

logger = logging.getLogger(__name__)


class Workers:
    def __init__(self, *, threads: int, queue: int, load_threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cache-refresh")
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="cache-read")
        self._loaders = ThreadPoolExecutor(load_threads, thread_name_prefix="cache-load")
        self._load_limit = load_threads
        self._limit = queue + threads
        self._jobs: dict[Hashable, Future[Any]] = {}
        self._loads: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self.dropped = 0
        """Refreshes that found the queue full; the next reader asks again."""

    def submit(self, key: Hashable, job: Callable[[], Any]) -> Future[Any] | None:
        """Return the future of `job`, or of the one already under way for `key`; None when full."""
        with self._lock:
            running = self._jobs.get(key)
            if running is not None:
                return running
            if len(self._jobs) >= self._limit:
                self.dropped += 1
                return None
            future = self._jobs[key] = self._pool.submit(_closing, job)
        future.add_done_callback(lambda done: self._finish(key, done))
        return future

    def load(self, key: Hashable, job: Callable[[], Any]) -> Future[Any] | None:
        """Like `submit`, in the threads for callers who wait; None when all of them are taken."""
        with self._lock:
            running = self._loads.get(key)
            if running is not None:
                return running
            if len(self._loads) >= self._load_limit:
                return None
            run = contextvars.copy_context().run
            future = self._loads[key] = self._loaders.submit(run, _closing, job)
        future.add_done_callback(lambda done: self._loaded(key))
        return future

    def _loaded(self, key: Hashable) -> None:
        with self._lock:
            self._loads.pop(key, None)

    def read(self, job: Callable[[], Any]) -> Future[Any]:
        """Run a read for a coroutine, in its context: a loader must not block the event loop."""
        return self._readers.submit(contextvars.copy_context().run, _closing, job)

    def _finish(self, key: Hashable, future: Future[Any]) -> None:
        with self._lock:
            self._jobs.pop(key, None)
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.warning("Refreshing %s failed: %s", key, error)

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._loaders.shutdown(wait=True, cancel_futures=True)

    def idle(self) -> bool:
        return not self._jobs and not self._loads


def _closing(job: Callable[[], Any]) -> Any:
    """Run `job`, then give this thread's database connections back: no request ends here."""
    try:
        return job()
    finally:
        connections.close_all()
