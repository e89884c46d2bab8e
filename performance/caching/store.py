"""The second tier: Redis or Valkey, asked by plain commands only. No Lua, no sets, no scans.

Every call is bounded by the client's 50 ms and by a breaker, and raises StoreAway when it fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import redis

from performance.caching.breaker import Breaker
from performance.caching.envelope import TOKEN_BYTES
from performance.caching.errors import StoreAway
from performance.core import stores

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATION_KEPT_S = 7 * 86_400
"""A tag that nobody invalidated for so long costs its entries one miss."""
SOFTEN_ATTEMPTS = 20


def new_token() -> bytes:
    return secrets.token_bytes(TOKEN_BYTES)


class Store(Protocol):
    """What a family needs of the shared tier; `fakes.FakeStore` has the same in memory."""

    breaker: Breaker

    def read(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]: ...

    def mint(self, keys: Sequence[str]) -> list[bytes]: ...

    def write(self, key: str, data: bytes, kept_ms: int) -> None: ...

    def release(self, lease: str, token: bytes) -> None: ...

    def hold_off(self, lease: str, token: bytes, retry_ms: int) -> None: ...

    def harden(self, keys: Iterable[str]) -> None: ...

    def soften(self, keys: Iterable[str]) -> None: ...

    def delete(self, keys: Sequence[str]) -> int: ...


class RedisStore:
    def __init__(self) -> None:
        self.breaker = Breaker()

    @contextmanager
    def _guarded(self) -> Iterator[redis.Redis]:
        if not self.breaker.allows():
            raise StoreAway("its breaker is open")
        try:
            yield stores.cache_store()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self.breaker.failed()
            raise StoreAway(str(error) or type(error).__name__) from error
        except redis.RedisError as error:  # it answers, and refuses: out of memory, read-only, …
            raise StoreAway(str(error)) from error
        self.breaker.succeeded()

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` in one round trip."""
        with self._guarded() as client:
            values: Any = client.mget(keys)
            return list(values)

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]:
        """Try to become the one who computes, and read what lies there *after* that; one trip."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(lease, token, nx=True, px=lease_ms)
            pipeline.mget(keys)
            won, values = pipeline.execute()
            return bool(won), values

    def mint(self, keys: Sequence[str]) -> list[bytes]:
        """Give each missing generation a random token; return what is there then."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            fresh = [new_token() + new_token() for _ in keys]
            for key, token in zip(keys, fresh, strict=True):
                pipeline.set(key, token, nx=True, get=True, ex=GENERATION_KEPT_S)
            found = pipeline.execute()
            return [there or token for there, token in zip(found, fresh, strict=True)]

    def write(self, key: str, data: bytes, kept_ms: int) -> None:
        with self._guarded() as client:
            client.set(key, data, px=kept_ms)

    def release(self, lease: str, token: bytes) -> None:
        """Give the lease back if it is still ours: compare and delete, by WATCH."""
        pipeline: Any
        with self._guarded() as client, client.pipeline() as pipeline:
            pipeline.watch(lease)
            if pipeline.get(lease) != token:
                return  # it ran out, and somebody else computes now
            pipeline.multi()
            pipeline.delete(lease)
            try:
                pipeline.execute()
            except redis.WatchError:
                return  # it ran out between the two

    def hold_off(self, lease: str, token: bytes, retry_ms: int) -> None:
        """Keep others from trying for `retry_ms`: a refresh has just failed, a copy is served."""
        with self._guarded() as client:
            client.set(lease, token, xx=True, px=retry_ms)

    def harden(self, keys: Iterable[str]) -> None:
        """Give each generation new tokens: nothing stored before may be served. One round trip."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, new_token() + new_token(), ex=GENERATION_KEPT_S)
            pipeline.execute()

    def soften(self, keys: Iterable[str]) -> None:
        """Change only the soft token of each generation: what is stored becomes stale.

        A hard change that comes between wins, because WATCH makes us read again.
        """
        for key in keys:
            with self._guarded() as client, client.pipeline() as pipeline:
                self._soften_one(pipeline, key)

    @staticmethod
    def _soften_one(pipeline: Any, key: str) -> None:
        for _ in range(SOFTEN_ATTEMPTS):
            pipeline.watch(key)
            current = pipeline.get(key)
            if current is None:
                return  # without a generation everything under the tag is a miss already
            pipeline.multi()
            pipeline.set(key, current[:TOKEN_BYTES] + new_token(), ex=GENERATION_KEPT_S)
            try:
                pipeline.execute()
            except redis.WatchError:
                continue  # somebody else has changed it: that may have been a hard change
            return
        pipeline.reset()
        pipeline.set(key, new_token() + new_token(), ex=GENERATION_KEPT_S)
        pipeline.execute()

    def delete(self, keys: Sequence[str]) -> int:
        with self._guarded() as client:
            deleted: Any = client.unlink(*keys)
            return int(deleted)
