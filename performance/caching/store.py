"""The second tier: Redis or Valkey, asked by plain commands only. No Lua, no sets, no scans.

Every call is bounded by the client's 50 ms and by a breaker, and raises StoreAway when it fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import redis

from performance.caching.breaker import Breaker
from performance.caching.direct import Command, Lines
from performance.caching.envelope import GENERATION_BYTES, TOKEN_BYTES
from performance.caching.errors import StoreAway
from performance.core import stores

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
        self._guarded = _Guard(self.breaker)
        kind = stores.cache_topology().kind
        self._one_by_one = kind == "cluster"
        # Behind sentinels the pool learns when the master is another; connections of ours do not.
        self._lines = Lines() if kind == "plain" else None

    def _trip(self, *commands: Command) -> list[Any]:
        """Return the replies to `commands`, given at once."""
        with self._guarded as client:
            if self._lines is not None:
                return self._lines.ask(client, *commands)
            return _piped(client, commands)

    def _reading(self, keys: Sequence[str]) -> tuple[Command, ...]:
        return tuple(("GET", key) for key in keys) if self._one_by_one else (("MGET", *keys),)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` in one round trip."""
        values = self._trip(*self._reading(keys))
        return values if self._one_by_one else values[0]

    def claim(
        self, lease: str, token: bytes, lease_ms: int, keys: Sequence[str]
    ) -> tuple[bool, list[bytes | None]]:
        """Try to become the one who computes, and read what lies there *after* that; one trip."""
        claiming = ("SET", lease, token, "NX", "GET", "PX", lease_ms)
        before, *values = self._trip(claiming, *self._reading(keys))
        # Our own token lies there when a closed socket made us ask twice.
        return before in (None, token), values if self._one_by_one else values[0]

    def mint(self, keys: Sequence[str]) -> list[bytes]:
        """Give each missing generation a random token; return what is there then."""
        fresh = [new_generation() for _ in keys]
        named = zip(keys, fresh, strict=True)
        found = self._trip(
            *(("SET", key, token, "NX", "GET", "EX", GENERATION_KEPT_S) for key, token in named)
        )
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
        commands: list[Command] = [("SET", key, data, "PX", kept_ms)]
        if lease is not None:
            commands.append(("UNLINK", lease))
        if counter is not None:
            commands.append(("PFADD", counter[0], key))
            commands.append(("EXPIRE", *counter))
        self._trip(*commands)

    def distinct(self, counters: Sequence[str]) -> int:
        """Return about how many different keys were counted in any of `counters`."""
        with self._guarded as client:
            return int(client.pfcount(*counters))

    def release(self, lease: str, token: bytes) -> None:
        """Give the lease back if it is still ours: compare and delete, by WATCH."""
        pipeline: Any
        with self._guarded as client, client.pipeline() as pipeline:
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
        with self._guarded as client:
            client.set(lease, token, xx=True, px=retry_ms)

    def harden(self, keys: Iterable[str]) -> None:
        """Give each generation new tokens: nothing stored before may be served. One round trip."""
        keys = list(keys)
        before = self._trip(
            *(("SET", key, new_generation(), "GET", "EX", GENERATION_KEPT_S) for key in keys)
        )
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
        with self._guarded as client, client.pipeline(transaction=True) as pipeline:
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
        commands: list[Command] = [("UNLINK", key) for key in keys]
        if touched is not None:
            commands.append(("SET", touched, b"", "EX", GENERATION_KEPT_S))
        return sum(self._trip(*commands)[: len(keys)])


class _Guard:
    """Lets a call to the store happen unless the breaker is open, and counts how it went."""

    __slots__ = ("_breaker",)

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> redis.Redis:
        if not self._breaker.allows():
            raise StoreAway("its breaker is open")
        try:
            return stores.cache_store()
        except redis.RedisError as error:  # a cluster's client asks for its nodes when it is made
            raise self._away(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._breaker.succeeded()
        elif isinstance(error, redis.RedisError):
            raise self._away(error) from error

    def _away(self, error: redis.RedisError) -> StoreAway:
        if isinstance(
            error, redis.ConnectionError | redis.TimeoutError | redis.RedisClusterException
        ):
            self._breaker.failed()
        # Else it answers, and refuses: out of memory, read-only, …
        return StoreAway(str(error) or type(error).__name__)


def _piped(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        # redis-py gives the value before a SET only when it is told that it was asked for.
        told = {"get": True} if command[0] == "SET" and "GET" in command else {}
        pipeline.execute_command(*command, **told)
    replies: list[Any] = pipeline.execute()
    return replies


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
