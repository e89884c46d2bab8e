"""What lies in the store, by a look that is bounded: so many keys, and no more.

Tags have no index, so what hangs on one is found by reading the heads of values: the generation
that an entry carries is random, and stands in its first bytes. Each call is one small command that
blocks the server for no longer than any other.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from performance.caching import runtime as runtimes
from performance.caching.conf import conf
from performance.caching.envelope import TOKEN_BYTES
from performance.caching.errors import StoreAway
from performance.caching.keytext import StoredName, stored_name
from performance.core import stores

KEYS_AT_MOST = 10_000
HEADS_AT_ONCE = 250
HEAD_BYTES = 1024
"""Enough for the generations of some forty tags; the value itself comes behind them."""


@dataclass(frozen=True, slots=True)
class Look:
    """How many stored values of each family were met, out of how many that were looked at."""

    found: dict[str, int]
    looked_at: int
    complete: bool
    """True when these were all; otherwise the store holds more than KEYS_AT_MOST keys."""

    @property
    def total(self) -> int:
        return sum(self.found.values())


def by_family(names: frozenset[str] | None = None) -> Look:
    """Count stored values by family, only those named if any; StoreAway when there is no store."""
    met: Counter[str] = Counter()
    looked_at = 0
    for name in _stored_names():
        looked_at += 1
        if names is None or name.family in names:
            met[name.family] += 1
    return Look(dict(met), looked_at, looked_at < KEYS_AT_MOST)


def by_tags(tags: tuple[str, ...]) -> Look:
    """Count the stored values that carry one of `tags` as it is now; StoreAway without a store.

    An entry with an older generation is a miss already, and is not counted.
    """
    runtime = runtimes.current()
    generations = runtime.store.read([runtime.generation_key(tag) for tag in tags])
    tokens = [there[:TOKEN_BYTES] for there in generations if there is not None]
    met: Counter[str] = Counter()
    looked_at = 0
    for names in _batches(_stored_names(), HEADS_AT_ONCE):
        looked_at += len(names)
        if not tokens:
            continue
        for name, head in zip(names, _heads(names), strict=True):
            if any(token in head for token in tokens):
                met[name.family] += 1
    return Look(dict(met), looked_at, looked_at < KEYS_AT_MOST)


def stored_keys(family: str, *, limit: int) -> list[tuple[str, int, float | None]]:
    """Return up to `limit` values of a family: the store's name, bytes, seconds until it is gone.

    StoreAway when there is no store.
    """
    pattern = f"{conf().namespace}:v:{_literal(family)}:*"
    mine = (name.key for name in _stored_names(pattern) if name.family == family)
    keys = list(itertools.islice(mine, limit))
    if not keys:
        return []
    with guarded() as client:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.strlen(key)
            pipeline.pttl(key)
        answers = pipeline.execute()
    found = zip(keys, answers[::2], answers[1::2], strict=True)
    return [(key, size, max(0, left_ms) / 1000) for key, size, left_ms in found if size]


class guarded:
    """The store's client for a look; what it raises becomes StoreAway. The breaker stays out."""

    def __enter__(self) -> redis.Redis:
        return stores.cache_store()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, redis.RedisError | OSError):
            raise StoreAway(str(error) or type(error).__name__) from error


def _stored_names(pattern: str | None = None) -> Iterator[StoredName]:
    pattern = pattern or f"{conf().namespace}:v:*"
    with guarded() as client:
        met = 0
        for key in client.scan_iter(match=pattern, count=1000):
            name = stored_name(key.decode(errors="replace"))
            if name is None:
                continue
            yield name
            met += 1
            if met >= KEYS_AT_MOST:
                return


def _heads(names: list[StoredName]) -> list[bytes]:
    with guarded() as client:
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(name.key, 0, HEAD_BYTES - 1)
        return list(pipeline.execute())


def _batches(names: Iterator[StoredName], size: int) -> Iterator[list[StoredName]]:
    while batch := list(itertools.islice(names, size)):
        yield batch


def _literal(text: str) -> str:
    """Return `text` so that MATCH takes it as it is."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in text)
