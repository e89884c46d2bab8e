"""The second tier: Redis or Valkey, asked by plain commands only. No Lua, no sets, no scans.

Every call is bounded by the client's 50 ms and by a breaker, and raises StoreAway when it fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import redis

from performance.caching.breaker import Breaker
from performance.caching.direct import Reader
from performance.caching.envelope import GENERATION_BYTES, TOKEN_BYTES
from performance.caching.errors import StoreAway
from performance.core import stores

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATION_KEPT_S = 7 * 86_400
"""A tag that nobody invalidated for so long costs its entries one miss."""
POISON_AGAIN_MS = 10_000
"""How long a poison is kept that is put back for others: they prolong it twice a second."""
ATTEMPTS = 20
_POISON = b"p"


def new_token() -> bytes:
    return secrets.token_bytes(TOKEN_BYTES)


def new_generation() -> bytes:
    return secrets.token_bytes(GENERATION_BYTES)


def poison_of(holders: Iterable[bytes]) -> bytes:
    """Return a generation that no entry can carry; `holders` are tokens of strict transactions."""
    return _POISON + b"".join(sorted(holders))


def holders_of(generation: bytes | None) -> set[bytes]:
    """Return whose poison a generation is; nobody's when it is a sound one, or missing."""
    if generation is None or len(generation) == GENERATION_BYTES:
        return set()
    body = generation[len(_POISON) :]
    return {body[at : at + TOKEN_BYTES] for at in range(0, len(body), TOKEN_BYTES)}


class Store(Protocol):
    """What a family needs of the shared tier; `fakes.FakeStore` has the same in memory."""

    breaker: Breaker

    def read(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]: ...

    def mint(self, keys: Sequence[str]) -> list[bytes]: ...

    def write(
        self,
        key: str,
        data: bytes,
        kept_ms: int,
        lease: str | None,
        counter: tuple[str, int] | None,
    ) -> None: ...

    def distinct(self, counters: Sequence[str]) -> int: ...

    def release(self, lease: str, token: bytes) -> None: ...

    def hold_off(self, lease: str, token: bytes, retry_ms: int) -> None: ...

    def harden(self, keys: Iterable[str]) -> None: ...

    def soften(self, keys: Iterable[str]) -> None: ...

    def poison(self, keys: Iterable[str], holder: bytes, kept_ms: int) -> None: ...

    def heal(self, keys: Iterable[str], holder: bytes) -> None: ...

    def delete(self, keys: Sequence[str], *, touched: str | None = None) -> int: ...


class RedisStore:
    """Of one server or a cluster. There, keys lie on several nodes, which are asked one by one:
    their answers are of no one moment, and none of the promises here needs that they were."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        kind = stores.cache_topology().kind
        self._one_by_one = kind == "cluster"
        # Behind sentinels the pool learns when the master is another; connections of ours do not.
        self._reader = Reader() if kind == "plain" else None

    @contextmanager
    def _guarded(self) -> Iterator[redis.Redis]:
        if not self.breaker.allows():
            raise StoreAway("its breaker is open")
        try:
            yield stores.cache_store()
        except (redis.ConnectionError, redis.TimeoutError, redis.RedisClusterException) as error:
            self.breaker.failed()
            raise StoreAway(str(error) or type(error).__name__) from error
        except redis.RedisError as error:  # it answers, and refuses: out of memory, read-only, …
            raise StoreAway(str(error)) from error
        self.breaker.succeeded()

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` in one round trip."""
        values: Any
        with self._guarded() as client:
            if self._one_by_one:
                pipeline = client.pipeline(transaction=False)
                for key in keys:
                    pipeline.get(key)
                values = pipeline.execute()
            elif self._reader is not None:
                return self._reader.mget(client, keys)
            else:
                values = client.mget(keys)
            return list(values)

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]:
        """Try to become the one who computes, and read what lies there *after* that; one trip."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(lease, token, nx=True, px=lease_ms)
            if self._one_by_one:
                for key in keys:
                    pipeline.get(key)
                won, *values = pipeline.execute()
            else:
                pipeline.mget(keys)
                won, values = pipeline.execute()
            return bool(won), values

    def mint(self, keys: Sequence[str]) -> list[bytes]:
        """Give each missing generation a random token; return what is there then."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            fresh = [new_generation() for _ in keys]
            for key, token in zip(keys, fresh, strict=True):
                pipeline.set(key, token, nx=True, get=True, ex=GENERATION_KEPT_S)
            found = pipeline.execute()
            return [there or token for there, token in zip(found, fresh, strict=True)]

    def write(
        self,
        key: str,
        data: bytes,
        kept_ms: int,
        lease: str | None,
        counter: tuple[str, int] | None,
    ) -> None:
        """Store a value, give back the lease, and count the key; one round trip.

        `lease` must be surely the caller's own yet; `counter` is a name and the seconds to keep it.
        """
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(key, data, px=kept_ms)
            if lease is not None:
                pipeline.unlink(lease)
            if counter is not None:
                pipeline.pfadd(counter[0], key)
                pipeline.expire(counter[0], counter[1])
            pipeline.execute()

    def distinct(self, counters: Sequence[str]) -> int:
        """Return about how many different keys were counted in any of `counters`."""
        with self._guarded() as client:
            return int(client.pfcount(*counters))

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
        keys = list(keys)
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, new_generation(), ex=GENERATION_KEPT_S, get=True)
            before = pipeline.execute()
        for key, was in zip(keys, before, strict=True):
            for holder in holders_of(was):  # a strict transaction is still open: it stays poisoned
                self.poison([key], holder, POISON_AGAIN_MS)

    def soften(self, keys: Iterable[str]) -> None:
        """Change only the soft token of each generation: what is stored becomes stale.

        A hard change that comes between wins, because WATCH makes us read again.
        """
        for key in keys:
            self._change(key, _softened)

    def poison(self, keys: Iterable[str], holder: bytes, kept_ms: int) -> None:
        """Let nothing under these generations be served or kept until `holder` heals them.

        When it never does they vanish after `kept_ms`, and all entries with them. Also prolongs.
        """
        for key in keys:
            self._change(key, lambda was: poison_of({*holders_of(was), holder}), kept_ms=kept_ms)

    def heal(self, keys: Iterable[str], holder: bytes) -> None:
        """Take `holder`'s poison away; new tokens come when nobody else's is left."""
        for key in keys:
            self._change(key, lambda was: _healed(was, holder))

    def _change(
        self, key: str, changed: Callable[[bytes | None], bytes | None], *, kept_ms: int = 0
    ) -> None:
        """Set a generation to what `changed` makes of it; None leaves it. Two round trips.

        When others change it all the time, it gets new tokens, which is always safe.
        """
        pipeline: Any
        with self._guarded() as client, client.pipeline(transaction=True) as pipeline:
            for attempt in range(ATTEMPTS):
                pipeline.watch(key)
                value = changed(pipeline.get(key))
                if value is None:
                    return
                pipeline.multi()
                if attempt == ATTEMPTS - 1:
                    value = new_generation()
                poisonous = len(value) != GENERATION_BYTES
                kept_ms = (kept_ms or POISON_AGAIN_MS) if poisonous else GENERATION_KEPT_S * 1000
                pipeline.set(key, value, px=kept_ms)
                try:
                    pipeline.execute()
                except redis.WatchError:
                    continue  # somebody else has changed it: that may have been a hard change
                return

    def delete(self, keys: Sequence[str], *, touched: str | None = None) -> int:
        """Remove keys, and write to `touched`, which all processes hear of; one round trip."""
        with self._guarded() as client:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.unlink(key)
            if touched is not None:
                pipeline.set(touched, b"", ex=GENERATION_KEPT_S)
            return sum(map(int, pipeline.execute()[: len(keys)]))


def _softened(was: bytes | None) -> bytes | None:
    """Return the same hard token with a new soft one.

    Without a generation everything under the tag is a miss already, and under a poison, too.
    """
    if was is None or len(was) != GENERATION_BYTES:
        return None
    return was[:TOKEN_BYTES] + new_token()


def _healed(was: bytes | None, holder: bytes) -> bytes:
    others = holders_of(was) - {holder}
    return poison_of(others) if others else new_generation()
