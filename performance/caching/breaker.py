"""A circuit breaker: after some failures in a row, ask no more for a moment, then let one try."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 5
PAUSE_S = 0.5


class Breaker:
    """`allows()` before a call, then `succeeded()` or `failed()`. Times are monotonic."""

    def __init__(self, *, failures: int = FAILURES, pause_s: float = PAUSE_S) -> None:
        self._limit = failures
        self._pause_s = pause_s
        self._in_a_row = 0
        self._retry_at = 0.0
        self._failed_at = float("-inf")
        self._lock = threading.Lock()
        self.opened = 0
        """How often it has opened since the process started."""
        self.on_recovery: Callable[[], object] | None = None
        """Called by the one whose call was the first to succeed after one that failed."""

    @property
    def is_open(self) -> bool:
        return self._in_a_row >= self._limit

    def failed_within(self, seconds: float) -> bool:
        """Return whether any call failed in the last `seconds`."""
        return time.monotonic() - self._failed_at < seconds

    def allows(self) -> bool:
        """Return False while open; once a pause, one caller gets True and is the probe."""
        if self._in_a_row < self._limit:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._pause_s
            return True

    def succeeded(self) -> None:
        if not self._in_a_row:
            return
        with self._lock:
            recovered, self._in_a_row = bool(self._in_a_row), 0
        if recovered and self.on_recovery is not None:
            self.on_recovery()

    def failed(self) -> None:
        with self._lock:
            self._in_a_row += 1
            self._failed_at = time.monotonic()
            if self._in_a_row == self._limit:
                self.opened += 1
            if self._in_a_row >= self._limit:
                self._retry_at = self._failed_at + self._pause_s
