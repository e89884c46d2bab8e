"""A family: one cached function, with its policy, its memory and its counters."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

import msgspec
from asgiref.sync import async_to_sync

from performance.caching import copies, keys, transactions
from performance.caching import runtime as runtimes
from performance.caching.bodies import Body
from performance.caching.computing import (
    compute,
    must_not_store,
    past_the_cache,
    refresh_behind,
    refresh_now,
)
from performance.caching.conf import conf
from performance.caching.copies import (
    Copy,
    Found,
    Peek,
    Ticket,
    assess,
    open_copy,
    read_together,
    ticket,
)
from performance.caching.envelope import State
from performance.caching.errors import StoreAway, UnusableArgument
from performance.caching.memory import Memory
from performance.caching.policy import Override, Policy, apply
from performance.caching.stats import Counts

P = ParamSpec("P")
T = TypeVar("T")


class Family(Generic[P, T]):
    """Call it like the function. `aget` is the same for coroutines, from the same loader.

    A hit in memory costs about a microsecond, one in the store a round trip of one MGET.
    RefreshFailed when the loader fails and no copy is young enough.
    """

    def __init__(
        self,
        name: str,
        loader: Callable[P, Any],
        *,
        policy: Policy,
        schema: Any = Any,
        tags: Callable[P, Iterable[str]] | None = None,
        warm: Callable[[], Iterable[tuple[Any, ...]]] | None = None,
        cdn: str | None = None,
        raises: tuple[type[Exception], ...] = (),
        memory_entries: int | None = None,
        dated: Callable[[Any], float | None] | None = None,
        audited: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.loader: Callable[..., Any] = (
            async_to_sync(loader) if inspect.iscoroutinefunction(loader) else loader
        )
        self.defaults = self.policy = policy
        self.schema = schema
        self.warm = warm
        self.cdn = cdn
        self.raises = raises
        self.dated = dated
        self.audited = audited
        self._tags = tags
        self._signature = keys.declared(name, loader)
        self._arity = len(self._signature.parameters)
        stored = Body if schema is bytes else schema
        self.schema_hash = keys.schema_hash(stored)
        self._decode = msgspec.msgpack.Decoder(stored).decode
        self._immutable = keys.is_immutable(stored)
        self._as_it_is = self._immutable and stored is not Body
        self._memory_entries = memory_entries
        self.renew()
        self.__name__ = getattr(loader, "__name__", name)
        self.__doc__ = loader.__doc__
        self.__wrapped__ = loader

    def renew(self) -> None:
        """Start with an empty memory and counters at 0, as a forked process must."""
        self.memory = Memory(max_bytes=conf().memory_bytes, max_entries=self._memory_entries)
        self.counts = Counts()

    # --- reading --------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if not kwargs and len(args) == self._arity and not transactions.waiting:
            entry = self._in_memory(args)
            if entry is not None:
                counts = self.counts
                counts.hit_l1 += 1
                counts.saved_us += entry.cost_us
                return cast("T", entry.value) if self._as_it_is else self.give(entry.value)
        return self.give(self.find(*args, **kwargs).held)

    async def aget(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the value without blocking the event loop: from memory inline, else by a thread.

        A thread costs about 50 us, and is what keeps 50 ms of a paused store, or a loader's
        query, away from every socket of the process.
        """
        arguments = self.bind(args, kwargs)
        entry = None if transactions.waiting else self._in_memory(arguments)
        if entry is not None:
            self.counts.hit_l1 += 1
            self.counts.saved_us += entry.cost_us
            return self.give(entry.value)
        future = runtimes.current().workers.read(lambda: self._find(arguments).held)
        return self.give(await asyncio.wrap_future(future))

    def find(self, *args: P.args, **kwargs: P.kwargs) -> Found:
        """Return the value as held, with where it came from and how old it is."""
        return self._find(self.bind(args, kwargs))

    def find_stored(self, arguments: tuple[Any, ...]) -> Found | None:
        """Return what may be served now without computing; a stale copy is refreshed behind."""
        entry = self._in_memory(arguments)
        if entry is not None:
            return self._from_memory(entry)
        this = ticket(self, arguments)
        copy = self._look(this)
        return None if copy is None else self._from_copy(this, copy, self._load(arguments))

    def many(self, argument_tuples: Iterable[tuple[Any, ...]]) -> list[T]:
        """Return the values in order, with one MGET for all that memory does not have."""
        wanted = [self.bind(arguments, {}) for arguments in argument_tuples]
        found: dict[int, Found] = {}
        tickets: dict[int, Ticket] = {}
        for index, arguments in enumerate(wanted):
            entry = None if transactions.waiting else self._in_memory(arguments)
            if entry is not None:
                found[index] = self._from_memory(entry)
            else:
                tickets[index] = ticket(self, arguments)
        if self.policy.strategy == "memory":
            tickets.clear()
        for index, values in read_together(tickets).items():
            this = tickets[index]
            if not transactions.holds_back(this.tags):
                load = self._load(this.arguments)
                stored = self._from_copy(this, assess(self, this, values), load)
                if stored is not None:
                    found[index] = stored
        return [
            self.give((found.get(index) or self._find(arguments)).held)
            for index, arguments in enumerate(wanted)
        ]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Peek[T]:
        """Return what is stored and how old it is; computes and refreshes nothing."""
        arguments = self.bind(args, kwargs)
        now_s = runtimes.current().clock()
        entry = self._in_memory(arguments)
        if entry is not None:
            return Peek(self.give(entry.value), "fresh", max(0.0, now_s - entry.created_s), "l1")
        copy = self._look(ticket(self, arguments))
        if copy is None or copy.envelope is None:
            return Peek(None, "miss", None, "none")
        value = self.give(self.hold(copy.envelope.payload))
        return Peek(value, copy.state.value, max(0.0, now_s - copy.envelope.created_s), "l2")

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute now, whatever is stored, and store it; RefreshFailed when the loader fails."""
        arguments = self.bind(args, kwargs)
        load = self._load(arguments)
        if must_not_store():
            return self.give(past_the_cache(self, arguments, load).held)
        return self.give(refresh_now(self, ticket(self, arguments), load).held)

    def find_or(self, compute: Callable[[], Any], arguments: tuple[Any, ...]) -> Found:
        """Like `find`, with another loader for this once."""
        return self._find(self.bind(arguments, {}), compute)

    def put(self, arguments: tuple[Any, ...], value: Any) -> None:
        """Store a value that the caller has computed already."""
        refresh_now(self, ticket(self, self.bind(arguments, {})), lambda: value)

    def forget(self, arguments: tuple[Any, ...]) -> bool:
        """Remove one value from memory and the store; False when the store is away."""
        arguments = self.bind(arguments, {})
        self.memory.drop(arguments)
        this = ticket(self, arguments)
        try:
            this.runtime.store.delete([this.key])
        except StoreAway:
            return False
        return True

    # --- the read path --------------------------------------------------------------------------

    def _in_memory(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return self.memory.get(arguments)
        except TypeError:  # a list or dict among the arguments: the store's key has no such limit
            return None

    def _find(self, arguments: tuple[Any, ...], load: Callable[[], Any] | None = None) -> Found:
        load = load or self._load(arguments)
        if transactions.waiting and transactions.holds_back(self.tags_of(arguments)):
            return past_the_cache(self, arguments, load)
        entry = self._in_memory(arguments)
        if entry is not None:
            return self._from_memory(entry)
        this = ticket(self, arguments)
        copy = self._look(this)
        found = None if copy is None else self._from_copy(this, copy, load)
        if found is not None:
            return found
        if must_not_store():
            return past_the_cache(self, arguments, load)
        return compute(self, this, copy, load)

    def _look(self, this: Ticket) -> Copy | None:
        """Return what the store has; None when it is away, or not used by this family."""
        if this.policy.strategy == "memory":
            return None
        try:
            return assess(self, this, this.runtime.store.read(this.keys))
        except StoreAway:
            return None

    def _from_memory(self, entry: Any) -> Found:
        self.counts.hit_l1 += 1
        self.counts.saved_us += entry.cost_us
        return Found(entry.value, "l1", entry.created_s, entry.fresh_until_s)

    def _from_copy(self, this: Ticket, copy: Copy, load: Callable[[], Any]) -> Found | None:
        if copy.envelope is None or copy.state not in (State.FRESH, State.STALE):
            return None
        fresh = copy.state is State.FRESH
        found = open_copy(self, this, copy, "l2" if fresh else "stale")
        if found is None:
            return None
        if fresh:
            self.counts.hit_l2 += 1
            if copies.is_early(copy.envelope, this.policy, this.runtime.clock()):
                self.counts.early += 1
                refresh_behind(self, this, load, copy.envelope)
        else:
            self.counts.stale += 1
            refresh_behind(self, this, load, copy.envelope)
        return found

    # --- names, values --------------------------------------------------------------------------

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in the order in which they are declared, defaults filled in."""
        if not kwargs and len(args) == self._arity:
            return tuple(args)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def digest(self, arguments: tuple[Any, ...]) -> str:
        return keys.digest(self.name, arguments)

    @property
    def own_tag(self) -> str:
        """The tag that every entry of the family carries: purging the family is one write."""
        return f"family:{self.name}"

    def tags_of(self, arguments: tuple[Any, ...]) -> tuple[str, ...]:
        tags: Callable[..., Iterable[str]] | None = self._tags
        own = () if tags is None else tags(*arguments)
        if isinstance(own, str):
            raise UnusableArgument(self.name, repr(arguments), f"tags must be a list, not {own!r}")
        return (self.own_tag, *own)

    def encode(self, value: Any) -> bytes:
        if self.schema is bytes:
            value = Body.of(value, encoded=self.cdn is not None)
        return msgspec.msgpack.encode(value)

    def hold(self, payload: bytes) -> Any:
        """Return what memory keeps: the value if nobody can change it, else its bytes."""
        value = self._decode(payload)  # also checks it against the schema
        return value if self._immutable else payload

    def give(self, held: Any) -> T:
        """Return to a caller what `hold` kept; a mutable value is the caller's own."""
        value = held if self._immutable else self._decode(held)
        return cast("T", value.identity if self.schema is bytes else value)

    def override(self, override: Override | None) -> None:
        policy = apply(self.defaults, override)
        if policy != self.policy:
            self.policy = policy
            runtimes.current().forget_tags([self.own_tag])  # entries under way, too
            self.memory.clear()

    def _load(self, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: self.loader(*arguments)
