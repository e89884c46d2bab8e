"""A store in memory with a clock that tests move, and switches for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from performance.caching.breaker import Breaker
from performance.caching.envelope import TOKEN_BYTES
from performance.caching.errors import StoreAway
from performance.caching.store import (
    GENERATION_KEPT_S,
    holders_of,
    new_generation,
    new_token,
    poison_of,
)


class FakeStore:
    """The store's promises without a server. `away = True` makes every call raise StoreAway."""

    def __init__(self, *, now_s: float = 1_800_000_000.0) -> None:
        self.breaker = Breaker()
        self.now_s = now_s
        self.away = False
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.counted: dict[str, set[str]] = {}
        self.reads = 0

    def clock(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Values in memory keep to the real clock: set memory_s=0 for those."""
        self.now_s += seconds

    def evict(self, key: str) -> None:
        del self.kept[key]

    def _get(self, key: str) -> bytes | None:
        if self.away:
            raise StoreAway("a test says so")
        value, until_s = self.kept.get(key, (b"", 0.0))
        return value if until_s > self.now_s else None

    def _set(self, key: str, value: bytes, kept_s: float) -> None:
        if self.away:
            raise StoreAway("a test says so")
        self.kept[key] = (value, self.now_s + kept_s)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.reads += 1
        return [self._get(key) for key in keys]

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]:
        won = self._get(lease) is None
        if won:
            self._set(lease, token, lease_ms / 1000)
        return won, self.read(keys)

    def mint(self, keys: Sequence[str]) -> list[bytes]:
        for key in keys:
            if self._get(key) is None:
                self._set(key, new_generation(), GENERATION_KEPT_S)
        return [self.kept[key][0] for key in keys]

    def write(
        self,
        key: str,
        data: bytes,
        kept_ms: int,
        lease: str | None,
        counter: tuple[str, int] | None,
    ) -> None:
        self._set(key, data, kept_ms / 1000)
        if lease is not None:
            self.kept.pop(lease, None)
        if counter is not None:
            self.counted.setdefault(counter[0], set()).add(key)

    def distinct(self, counters: Sequence[str]) -> int:
        return len(set().union(*(self.counted.get(counter, set()) for counter in counters)))

    def release(self, lease: str, token: bytes) -> None:
        if self._get(lease) == token:
            del self.kept[lease]

    def hold_off(self, lease: str, token: bytes, retry_ms: int) -> None:
        if self._get(lease) is not None:
            self._set(lease, token, retry_ms / 1000)

    def harden(self, keys: Iterable[str]) -> None:
        for key in keys:
            holders = holders_of(self._get(key))
            value = poison_of(holders) if holders else new_generation()
            self._set(key, value, GENERATION_KEPT_S)

    def soften(self, keys: Iterable[str]) -> None:
        for key in keys:
            current = self._get(key)
            if current is not None and not holders_of(current):
                self._set(key, current[:TOKEN_BYTES] + new_token(), GENERATION_KEPT_S)

    def poison(self, keys: Iterable[str], holder: bytes, kept_ms: int) -> None:
        for key in keys:
            holders = {*holders_of(self._get(key)), holder}
            self._set(key, poison_of(holders), kept_ms / 1000)

    def heal(self, keys: Iterable[str], holder: bytes) -> None:
        for key in keys:
            others = holders_of(self._get(key)) - {holder}
            value = poison_of(others) if others else new_generation()
            self._set(key, value, GENERATION_KEPT_S)

    def delete(self, keys: Sequence[str], *, touched: str | None = None) -> int:
        there = [key for key in keys if self._get(key) is not None]
        for key in there:
            del self.kept[key]
        return len(there)
