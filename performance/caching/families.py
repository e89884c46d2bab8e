"""A family: one cached function, with its policy, its memory and its counters."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec
from asgiref.sync import async_to_sync

from performance.caching import keys, reading, rules, transactions
from performance.caching import runtime as runtimes
from performance.caching.budgets import Budget
from performance.caching.codec import Codec
from performance.caching.conf import conf
from performance.caching.copies import Found, Peek, ticket
from performance.caching.errors import StoreAway, UnusableArgument
from performance.caching.memory import Memory
from performance.caching.policy import Override, Policy
from performance.caching.stats import Counts

P = ParamSpec("P")
T = TypeVar("T")

_waiting = transactions.waiting


class Family(Generic[P, T]):
    """Call it like the function. `aget` is the same for coroutines, from the same loader.

    A hit in memory costs about half a microsecond, one in the store a round trip of one MGET.
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
        entries: int | None = None,
        parallel: int | None = None,
        ttl: Callable[[Any], float | None] | None = None,
        dated: Callable[[Any], float | None] | None = None,
        audited: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.loader: Callable[..., Any] = (
            async_to_sync(loader) if inspect.iscoroutinefunction(loader) else loader
        )
        self.defaults = self.policy = policy
        self.schema = schema
        self.codec = Codec(schema, encoded=cdn is not None)
        self.warm = warm
        self.cdn = cdn
        self.raises = raises
        self.dated = dated
        self.audited = audited
        self.parallel = parallel or conf().parallel_loads
        self.rules: rules.Rules = rules.NONE
        self._ttl = ttl
        self._tags = tags
        self._signature = keys.declared(name, loader)
        self._arity = len(self._signature.parameters)
        self._fills = keys.defaults(self._signature)
        self._memory_entries = memory_entries
        self._entries = entries
        self.renew()
        self.__name__ = getattr(loader, "__name__", name)
        self.__doc__ = loader.__doc__
        self.__wrapped__ = loader

    def renew(self) -> None:
        """Start with an empty memory and counters at 0, as a forked process must."""
        self.memory = Memory(max_bytes=conf().memory_bytes, max_entries=self._memory_entries)
        self.counts = Counts()
        self.compared_s = 0.0
        """When a refresh was last held against the value before it; Unix time."""
        self.places = threading.BoundedSemaphore(self.parallel)
        self.budget = Budget(self.name, conf().namespace, self._entries or conf().entries)
        self.budget.follow(self.policy)
        self._in_memory = self.memory.plain
        self._as_it_is = self.codec.as_it_is

    # --- reading --------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        # The quickest way out, written out here: each call of a function would cost a tenth of it.
        if not kwargs and not _waiting:
            try:
                entry = self._in_memory(args)
            except TypeError:  # arguments that no dict takes
                entry = None
            if entry is not None and entry.until > monotonic():
                for cell in entry.cells:
                    if not cell.alive:
                        break
                else:
                    entry.hits += 1
                    counts = self.counts
                    counts.hit_l1 += 1
                    counts.saved_us += entry.cost_us
                    return entry.value if self._as_it_is else self.codec.give(entry.value)  # type: ignore[no-any-return]
        arguments = self.bind(args, kwargs)
        entry = None if _waiting else reading.in_memory(self, arguments)
        if entry is not None:  # the same without a Found: numbers and dates come this way
            self.counts.hit_l1 += 1
            self.counts.saved_us += entry.cost_us
            return entry.value if self._as_it_is else self.codec.give(entry.value)  # type: ignore[no-any-return]
        return self.give(reading.find(self, arguments, self.load(arguments)).held)

    async def aget(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the value without blocking the event loop: from memory inline, else by a thread.

        A thread costs about 50 us, and is what keeps 50 ms of a paused store, or a loader's
        query, away from every socket of the process.
        """
        arguments = self.bind(args, kwargs)
        entry = None if _waiting else reading.in_memory(self, arguments)
        if entry is not None:
            return self.give(reading.from_memory(self, entry).held)
        load = self.load(arguments)
        future = runtimes.current().workers.read(lambda: reading.find(self, arguments, load).held)
        return self.give(await asyncio.wrap_future(future))

    def find(self, *args: P.args, **kwargs: P.kwargs) -> Found:
        """Return the value as held, with where it came from and how old it is."""
        arguments = self.bind(args, kwargs)
        return reading.find(self, arguments, self.load(arguments))

    def find_or(self, compute: Callable[[], Any], arguments: tuple[Any, ...]) -> Found:
        """Like `find`, with another loader for this once."""
        return reading.find(self, self.bind(arguments, {}), compute)

    def many(self, argument_tuples: Iterable[tuple[Any, ...]]) -> list[T]:
        """Return the values in order, with one MGET for all that memory does not have."""
        wanted = [self.bind(arguments, {}) for arguments in argument_tuples]
        found = reading.find_many(self, wanted)
        return [
            self.give(
                (found.get(index) or reading.find(self, arguments, self.load(arguments))).held
            )
            for index, arguments in enumerate(wanted)
        ]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Peek[T]:
        """Return what is stored and how old it is; computes and refreshes nothing."""
        return reading.peek(self, self.bind(args, kwargs))

    # --- writing --------------------------------------------------------------------------------

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute now, whatever is stored, and store it; RefreshFailed when the loader fails."""
        arguments = self.bind(args, kwargs)
        return self.give(reading.refresh(self, arguments, self.load(arguments)).held)

    def put(self, arguments: tuple[Any, ...], value: Any) -> None:
        """Store a value that the caller has computed already; nothing inside a transaction."""
        reading.refresh(self, self.bind(arguments, {}), lambda: value)

    def forget(self, arguments: tuple[Any, ...]) -> bool:
        """Remove one value from the store and from every memory; False when the store is away.

        The memories lose all values of the family, which the store still has: that costs each
        process one MGET a value, and no read anything.
        """
        arguments = self.bind(arguments, {})
        this = ticket(self, arguments)
        this.runtime.forget_tags([self.own_tag])
        touched = this.runtime.generation_key(runtimes.MEMORY_ONLY + self.own_tag)
        try:
            this.runtime.store.delete([this.key], touched=touched)
        except StoreAway:
            return False
        return True

    # --- names, values --------------------------------------------------------------------------

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in the order in which they are declared, defaults filled in."""
        if not kwargs:
            missing = self._arity - len(args)
            if not missing:
                return tuple(args)
            if 0 < missing <= len(self._fills):
                return (*args, *self._fills[-missing:])
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def load(self, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: self.loader(*arguments)

    def digest(self, arguments: tuple[Any, ...]) -> str:
        return keys.digest(self.name, arguments)

    def readable_key(self, arguments: tuple[Any, ...]) -> str:
        """Return the key as people write it: the name, and the arguments as JSON."""
        return self.name + msgspec.json.encode(arguments).decode()

    @property
    def tagged(self) -> bool:
        """True when changes can be told to it: it has tags beside its own."""
        return self._tags is not None or bool(self.policy.also)

    @property
    def own_tag(self) -> str:
        """The tag that every entry of the family carries: purging the family is one write."""
        return f"family:{self.name}"

    def tags_of(self, arguments: tuple[Any, ...], policy: Policy | None = None) -> tuple[str, ...]:
        tags: Callable[..., Iterable[str]] | None = self._tags
        own = () if tags is None else tags(*arguments)
        if isinstance(own, str):
            raise UnusableArgument(self.name, repr(arguments), f"tags must be a list, not {own!r}")
        return (self.own_tag, *own, *(policy or self.policy).also)

    def ttl_of(self, value: Any) -> float:
        """Return how many seconds this value is good for: never more than the policy's `ttl_s`."""
        own_s = None if self._ttl is None else self._ttl(value)
        return self.policy.ttl_s if own_s is None else min(own_s, self.policy.ttl_s)

    def give(self, held: Any) -> T:
        """Return to a caller what memory or a `Found` holds; a mutable one is its own."""
        given: T = self.codec.give(held)
        return given

    def override(
        self,
        override: Override | None,
        in_force: rules.Rules = rules.NONE,
        also: tuple[str, ...] = (),
    ) -> None:
        """Take a row's settings over, None for those of the code; entries under way are dropped.

        `also` are the tags that its rules, `in_force`, put on every entry.
        """
        policy = rules.apply(self.defaults, override, in_force, also)
        self.rules = in_force
        if policy != self.policy:
            self.policy = policy
            self.budget.follow(policy)
            runtimes.current().forget_tags([self.own_tag])
            self.memory.clear()
