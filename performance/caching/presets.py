"""The four caches carried over from the platform as it was: any key, any plain value.

Their lifetimes and their bounds in memory are the old ones; what is new is that processes share
them, and that a deletion is heard everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from performance.caching import transactions
from performance.caching.families import Family
from performance.caching.policy import Policy

PRESETS = {
    "api": (300, 100),
    "user_data": (900, 50),
    "static": (3600, 200),
    "realtime": (30, 20),
}
"""name: (seconds a value lives, entries in the memory of one process)."""


class Missing(LookupError):
    """Nothing is stored under the key; `get` turns it into its default."""


def _nothing(key: str) -> Any:
    raise Missing(key)


class Preset:
    """`get`, `set`, `delete`, `get_or_compute` under text keys. Values as msgspec knows them."""

    def __init__(
        self,
        name: str,
        *,
        ttl_s: float,
        memory_entries: int,
        invalidate: Callable[..., bool],
    ) -> None:
        self.name = name
        self._invalidate = invalidate
        self.family: Family[[str], Any] = Family(
            f"preset.{name}",
            _nothing,
            policy=Policy(ttl_s=ttl_s, stale_s=0, max_stale_s=0, memory_s=ttl_s),
            tags=lambda key: [self._tag(key)],
            raises=(Missing,),
            memory_entries=memory_entries,
        )

    def _tag(self, key: str) -> str:
        return f"preset.{self.name}:{key}"

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self.family(key)
        except Missing:
            return default

    def set(self, key: str, value: Any) -> None:
        """Store `value`; readers elsewhere see it at once, as after a delete.

        Inside a transaction it only deletes, after COMMIT: the value may yet be rolled back.
        """
        self.delete(key)
        if not transactions.in_transaction():
            self.family.put((key,), value)

    def delete(self, key: str) -> bool:
        """Return False when the store is away; then it is deleted as soon as it is back."""
        return self._invalidate(self._tag(key))

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return what is stored, else what `compute` gives, computed by one caller for all."""
        return self.family.give(self.family.find_or(compute, (key,)).held)
