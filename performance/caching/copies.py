"""Reading: what one key is called everywhere, and what of it lies where."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from performance.caching import runtime as runtimes
from performance.caching import vault
from performance.caching.conf import conf
from performance.caching.envelope import (
    Envelope,
    State,
    Unreadable,
    judge,
    poisoned,
    unseal,
)
from performance.caching.errors import StoreAway
from performance.caching.memory import Cell, Entry
from performance.caching.policy import Policy
from performance.caching.store import new_token

if TYPE_CHECKING:
    from performance.caching.families import Family


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Peek(Generic[T]):
    """What is stored of a value. `state` is fresh, stale, fallback or miss (`value` is None)."""

    value: T | None
    state: str
    age_s: float | None
    source: str
    fresh_for_s: float = 0.0
    """How long it is fresh yet; 0 for what is not."""


class Found(msgspec.Struct, frozen=True):  # made at each hit: a dataclass costs ten times that
    """A value as the cache holds it, with where it came from."""

    held: Any
    source: str
    """`l1`, `l2`, `stale`, `outdated`, `fallback`, `miss` (just computed) or `bypass`."""
    created_s: float
    """Unix time at which its loader began."""
    fresh_until_s: float
    ends_s: float = 0.0
    """Unix time from which nobody may serve it, not even when refreshing fails."""
    stored: bool = True
    shared: bool = False
    """True when another caller's computation was waited for."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute a key, for as long as the store keeps it."""

    name: str
    token: bytes
    until: float
    """By our monotonic clock, which began before the store's did: until then it is surely ours."""

    @classmethod
    def named(cls, name: str, lease_s: float) -> Lease:
        return cls(name, new_token(), time.monotonic() + lease_s)

    @property
    def ours(self) -> bool:
        return time.monotonic() < self.until


class Ticket(msgspec.Struct, frozen=True):
    """One read of one key: its names, and the cells that were alive before it asked the store."""

    arguments: tuple[Any, ...]
    key: str
    tags: tuple[str, ...]
    generation_keys: tuple[str, ...]
    cells: tuple[Cell, ...]
    policy: Policy
    runtime: runtimes.Runtime

    def lease(self, generations: tuple[bytes, ...]) -> str:
        """Return the lease of whoever computes from this state of the tags.

        After an invalidation it is another one: nobody waits for a loader that has read old data.
        """
        state = hashlib.blake2b(b"".join(generations), digest_size=6).hexdigest()
        return f"{{{self.key}}}:lease:{state}"  # braces: a cluster keeps it beside its key

    @property
    def readable(self) -> str:
        """The key without what only the store needs."""
        return self.key.partition(":v:")[2]

    @property
    def keys(self) -> list[str]:
        return [self.key, *self.generation_keys]


class Copy(msgspec.Struct, frozen=True):
    """What the store has of a key. `envelope` is None with State.MISS."""

    state: State
    envelope: Envelope | None
    generations: tuple[bytes | None, ...]
    outdated: Envelope | None = None
    """What an invalidation ended before its time, of State.MISS otherwise."""

    @property
    def poisoned(self) -> bool:
        return poisoned(self.generations)


def ticket(family: Family[..., Any], arguments: tuple[Any, ...]) -> Ticket:
    runtime = runtimes.current()
    policy = family.policy
    name = (
        f"{conf().namespace}:v:{family.name}:{policy.version}:{family.codec.schema_hash}:"
        f"{family.digest(arguments)}"
    )
    tags = family.tags_of(arguments, policy)
    return Ticket(
        arguments=arguments,
        key=name,
        tags=tags,
        generation_keys=tuple(runtime.generation_key(tag) for tag in tags),
        cells=runtime.cells.take(tags),
        policy=policy,
        runtime=runtime,
    )


def assess(family: Family[..., Any], ticket: Ticket, values: Sequence[bytes | None]) -> Copy:
    """Say what `values` (of the key, then of its generations) are worth; never raises."""
    stored, generations = values[0], tuple(values[1:])
    if stored is None:
        return Copy(State.MISS, None, generations)
    try:
        envelope = unseal(
            stored,
            schema=family.codec.schema_hash,
            max_bytes=conf().max_value_bytes,
            unlock=vault.unlock(ticket.key),
        )
    except Unreadable:
        family.counts.unreadable += 1
        return Copy(State.MISS, None, generations)
    now_s = ticket.runtime.clock()
    state = judge(envelope, generations, now_s=now_s, policy=ticket.policy)
    if state is not State.MISS:
        return Copy(state, envelope, generations)
    ended = now_s < ticket.policy.ends_s(envelope.created_s, envelope.ttl_s)
    return Copy(state, None, generations, outdated=envelope if ended else None)


def open_copy(
    family: Family[..., Any], ticket: Ticket, copy: Copy, source: str, *, served: bool = True
) -> Found | None:
    """Return the copy's value; None, and counted, when its payload is not what the schema says.

    `served` is False for who only looks: then nobody was spared the loader's work.
    """
    envelope = copy.envelope
    if envelope is None:
        return None
    try:
        held = family.codec.hold(envelope.payload)
    except msgspec.MsgspecError:
        family.counts.unreadable += 1
        return None
    policy, created_s, ttl_s = ticket.policy, envelope.created_s, envelope.ttl_s
    found = Found(
        held,
        source,
        created_s,
        policy.fresh_until_s(created_s, envelope.soft_s, ttl_s),
        policy.ends_s(created_s, ttl_s),
    )
    if served:
        family.counts.saved_us += int(envelope.cost_ms * 1000)
    if copy.state is State.FRESH:
        remember(family, ticket, found, weight=len(envelope.payload), cost_ms=envelope.cost_ms)
    return found


def remember(
    family: Family[..., Any], ticket: Ticket, found: Found, *, weight: int, cost_ms: float
) -> None:
    """Keep a fresh value in memory, no longer than it is fresh."""
    policy = ticket.policy
    wanted_s = policy.ttl_s if policy.strategy == "memory" else policy.memory_s
    live_s = min(
        ticket.runtime.memory_limit_s(wanted_s), found.fresh_until_s - ticket.runtime.clock()
    )
    if live_s <= 0:
        return
    family.memory.put(
        ticket.arguments,
        Entry(
            family.codec.kept(found.held),
            until=time.monotonic() + live_s,
            cells=ticket.cells,
            created_s=found.created_s,
            fresh_until_s=found.fresh_until_s,
            ends_s=found.ends_s,
            cost_us=int(cost_ms * 1000),
            weight=weight,
        ),
    )


def is_early(envelope: Envelope, policy: Policy, now_s: float) -> bool:
    """Say whether this reader should refresh before expiry, by XFetch.

    The dearer the value and the nearer its end, the likelier; among many readers about one does.
    (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, 2015.)
    """
    beta = conf().xfetch_beta
    if not beta:
        return False
    head_start_s = envelope.cost_ms / 1000 * beta * -math.log(1.0 - random.random())
    fresh_until_s = policy.fresh_until_s(envelope.created_s, envelope.soft_s, envelope.ttl_s)
    return now_s + head_start_s >= fresh_until_s


def read_together(tickets: dict[int, Ticket]) -> dict[int, list[bytes | None]]:
    """Read every ticket's keys in one MGET; nothing when the store is away."""
    names = list(dict.fromkeys(key for this in tickets.values() for key in this.keys))
    if not names:
        return {}
    store = next(iter(tickets.values())).runtime.store
    try:
        values = dict(zip(names, store.read(names), strict=True))
    except StoreAway:
        return {}
    return {index: [values[key] for key in this.keys] for index, this in tickets.items()}
