"""A circuit breaker: after some failures in a row, ask no more for a moment, then let one try."""

from __future__ import annotations

import threading
import time

FAILURES = 5
PAUSE_S = 0.5


class Breaker:
    """`allows()` before a call, then `succeeded()` or `failed()`. Times are monotonic."""

    def __init__(self, *, failures: int = FAILURES, pause_s: float = PAUSE_S) -> None:
        self._limit = failures
        self._pause_s = pause_s
        self._in_a_row = 0
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self.opened = 0
        """How often it has opened since the process started."""

    @property
    def is_open(self) -> bool:
        return self._in_a_row >= self._limit

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
        if self._in_a_row:
            with self._lock:
                self._in_a_row = 0

    def failed(self) -> None:
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row == self._limit:
                self.opened += 1
            if self._in_a_row >= self._limit:
                self._retry_at = time.monotonic() + self._pause_s
