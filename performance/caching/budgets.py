"""How many values a family may have in the store, so that no flood of keys pushes others out.

Distinct keys are counted by a HyperLogLog a family (12 KB, error 0.8 %), one PFADD in the round
trip that writes a value. Once a second each process asks for the number. Over the budget new keys
are served and not stored, until the window has moved on; those already there are refreshed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from performance.caching.errors import StoreAway

if TYPE_CHECKING:
    from performance.caching.policy import Policy
    from performance.caching.store import Store

RECOUNT_S = 1.0
SHORTEST_WINDOW_S = 60


class Budget:
    """One family's. `full` is what this process last heard, so at most about a second old."""

    def __init__(self, family: str, namespace: str, limit: int) -> None:
        self.limit = limit
        self.entries = 0
        """Distinct keys written in this window and the one before, over all processes."""
        self._prefix = f"{namespace}:n:{{{family}}}"  # one slot, so that a cluster can add them up
        self._window_s = float(SHORTEST_WINDOW_S)
        self._recounted_at = 0.0
        self._written = False

    @property
    def full(self) -> bool:
        return self.entries >= self.limit

    def follow(self, policy: Policy) -> None:
        """Make a window as long as values live: what was written before the last one is gone."""
        self._window_s = max(float(SHORTEST_WINDOW_S), policy.kept_s)

    def counter(self, now_s: float) -> tuple[str, int]:
        """Return the key to count a write in, and the seconds to keep it."""
        self._written = True
        return self._name(int(now_s // self._window_s)), int(self._window_s * 2) + 1

    def recount(self, store: Store, now_s: float) -> None:
        """Ask how many there are, at most once a second, and only while values are written."""
        if not (self._written or self.full) or time.monotonic() - self._recounted_at < RECOUNT_S:
            return
        self._recounted_at, self._written = time.monotonic(), False
        window = int(now_s // self._window_s)
        try:
            self.entries = store.distinct([self._name(window), self._name(window - 1)])
        except StoreAway:
            return  # the number of a second ago goes on counting

    def _name(self, window: int) -> str:
        return f"{self._prefix}:{window}"
