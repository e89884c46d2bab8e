"""A store in memory with a clock that tests move, and switches for what goes wrong.

`cache.fake()` gives a Fake; docs/caching.md shows what tests do with it.
"""

from __future__ import annotations

import functools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from performance.caching.breaker import Breaker
from performance.caching.envelope import TOKEN_BYTES
from performance.caching.errors import StoreAway, UnknownFamily
from performance.caching.keytext import stored_name
from performance.caching.store import (
    GENERATION_KEPT_S,
    holders_of,
    new_generation,
    new_token,
    poison_of,
)

if TYPE_CHECKING:
    from performance.caching.families import Family
    from performance.caching.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


def _call(
    method: Callable[Concatenate[FakeStore, P], T],
) -> Callable[Concatenate[FakeStore, P], T]:
    """Make a method of the store one call: counted, and failed when a test wants that."""

    @functools.wraps(method)
    def called(self: FakeStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.reach(method.__name__)
        return method(self, *args, **kwargs)

    return called


class FakeStore:
    """The store's promises without a server."""

    def __init__(self, *, now_s: float = 1_800_000_000.0) -> None:
        self.breaker = Breaker()
        self.now_s = now_s
        self.away = False
        """True makes every call raise StoreAway, as a dead server does."""
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.counted: dict[str, set[str]] = {}
        self.calls: Counter[str] = Counter()
        """How often each of the store's methods was called, failed calls too."""
        self._failing = 0
        self._share = 0.0
        self._slow_s = 0.0
        self._chance = random.Random(0)

    @property
    def reads(self) -> int:
        return self.calls["read"]

    def clock(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    def evict(self, key: str) -> None:
        del self.kept[key]

    def reach(self, name: str) -> None:
        """Count a call, and fail it if it is its turn."""
        self.calls[name] += 1
        if self._slow_s:
            time.sleep(self._slow_s)
        if self.away:
            raise StoreAway("a test says so")
        if self._failing:
            self._failing -= 1
            raise StoreAway("a test lets this call fail")
        if self._share and self._chance.random() < self._share:
            raise StoreAway("chaos")

    def _get(self, key: str) -> bytes | None:
        value, until_s = self.kept.get(key, (b"", 0.0))
        return value if until_s > self.now_s else None

    def _set(self, key: str, value: bytes, kept_s: float) -> None:
        self.kept[key] = (value, self.now_s + kept_s)

    @_call
    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._get(key) for key in keys]

    @_call
    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]:
        won = self._get(lease) is None
        if won:
            self._set(lease, token, lease_ms / 1000)
        return won, [self._get(key) for key in keys]

    @_call
    def mint(self, keys: Sequence[str]) -> list[bytes]:
        for key in keys:
            if self._get(key) is None:
                self._set(key, new_generation(), GENERATION_KEPT_S)
        return [self.kept[key][0] for key in keys]

    @_call
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

    @_call
    def distinct(self, counters: Sequence[str]) -> int:
        return len(set().union(*(self.counted.get(counter, set()) for counter in counters)))

    @_call
    def release(self, lease: str, token: bytes) -> None:
        if self._get(lease) == token:
            del self.kept[lease]

    @_call
    def hold_off(self, lease: str, token: bytes, retry_ms: int) -> None:
        if self._get(lease) is not None:
            self._set(lease, token, retry_ms / 1000)

    @_call
    def harden(self, keys: Iterable[str]) -> None:
        for key in keys:
            holders = holders_of(self._get(key))
            value = poison_of(holders) if holders else new_generation()
            self._set(key, value, GENERATION_KEPT_S)

    @_call
    def soften(self, keys: Iterable[str]) -> None:
        for key in keys:
            current = self._get(key)
            if current is not None and not holders_of(current):
                self._set(key, current[:TOKEN_BYTES] + new_token(), GENERATION_KEPT_S)

    @_call
    def poison(self, keys: Iterable[str], holder: bytes, kept_ms: int) -> None:
        for key in keys:
            holders = {*holders_of(self._get(key)), holder}
            self._set(key, poison_of(holders), kept_ms / 1000)

    @_call
    def heal(self, keys: Iterable[str], holder: bytes) -> None:
        for key in keys:
            others = holders_of(self._get(key)) - {holder}
            value = poison_of(others) if others else new_generation()
            self._set(key, value, GENERATION_KEPT_S)

    @_call
    def delete(self, keys: Sequence[str], *, touched: str | None = None) -> int:
        there = [key for key in keys if self._get(key) is not None]
        for key in there:
            del self.kept[key]
        return len(there)


class Fake(FakeStore):
    """What a test holds: the clock of both tiers, the chaos, and what to assert."""

    def __init__(self, families: dict[str, Family[..., Any]]) -> None:
        super().__init__()
        self._families = families
        self._before = {name: family.counts.flat() for name, family in families.items()}
        self._invalidated: list[str] = []
        self.runtime: Runtime | None = None

    # --- time -----------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, in the store and in memory."""
        super().advance(seconds)
        for family in list(self._families.values()):
            family.memory.pass_time(seconds)

    def settle(self, within_s: float = 5) -> None:
        """Wait until the refreshes behind are through; AssertionError when they are not in time."""
        assert self.runtime is not None
        give_up_at = time.monotonic() + within_s
        while not self.runtime.workers.idle():
            if time.monotonic() > give_up_at:
                raise AssertionError(f"Refreshes are still under way after {within_s} s.")
            time.sleep(0.001)

    # --- chaos ----------------------------------------------------------------------------------

    def chaos(self, *, share: float = 0, slow_s: float = 0, seed: int = 0) -> None:
        """Let a `share` (0 to 1) of the store's calls fail, and each take `slow_s`; 0 ends it.

        The same seed fails the same calls of one thread again.
        """
        if not 0 <= share <= 1 or slow_s < 0:
            raise ValueError(f"share is {share} and slow_s {slow_s}; 0 to 1, and not negative.")
        self._share, self._slow_s, self._chance = share, slow_s, random.Random(seed)

    def fail_next(self, calls: int = 1) -> None:
        """Let the next `calls` of the store fail, and no more."""
        self._failing = calls

    def evict_values(self, family: str) -> int:
        """Lose all stored values of a family, as a full server may; return how many there were."""
        gone = self._values_of(family)
        for key in gone:
            del self.kept[key]
        return len(gone)

    def evict_generations(self) -> int:
        """Lose the generations of all tags, as a full server may: everything stored is a miss."""
        gone = [key for key in self.kept if ":g:" in key]
        for key in gone:
            del self.kept[key]
        self._forget_memory()
        return len(gone)

    def corrupt(self, family: str) -> int:
        """Turn a bit in every stored value of a family; return how many that are."""
        hit = self._values_of(family)
        for key in hit:
            value, until_s = self.kept[key]
            self.kept[key] = (value[:-1] + bytes([value[-1] ^ 1]), until_s)
        return len(hit)

    def lose_push(self) -> None:
        """Cut this process off from hearing of changes: memory is emptied, and stays off."""
        assert self.runtime is not None
        self.runtime.deaf = True
        self._forget_memory()

    def restore_push(self) -> None:
        assert self.runtime is not None
        self.runtime.deaf = False

    # --- what happened --------------------------------------------------------------------------

    def computed(self, family: str) -> int:
        """Return how often the family's loader has run inside the fake."""
        return self._since(family, "loads")

    def hits(self, family: str) -> int:
        """Return how many reads were answered without the loader, from either tier."""
        return sum(self._since(family, name) for name in ("hit_l1", "hit_l2", "stale", "fallback"))

    def invalidated(self, tag: str) -> bool:
        """Return whether the tag was invalidated, hard or softly, inside the fake."""
        return any(name.endswith(f":g:{tag}") for name in self._invalidated)

    def harden(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        super().harden(keys)
        self._invalidated += keys

    def soften(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        super().soften(keys)
        self._invalidated += keys

    def _since(self, family: str, counter: str) -> int:
        if family not in self._families:
            raise UnknownFamily(family, sorted(self._families))
        now: int = getattr(self._families[family].counts, counter)
        return now - self._before.get(family, {}).get(counter, 0)

    def _values_of(self, family: str) -> list[str]:
        if family not in self._families:
            raise UnknownFamily(family, sorted(self._families))
        names = {key: stored_name(key) for key in list(self.kept)}
        return [key for key, name in names.items() if name and name.family == family]

    def _forget_memory(self) -> None:
        assert self.runtime is not None
        self.runtime.forget_all()
