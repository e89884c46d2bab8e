"""Running a loader, within its family's limits, and keeping what it gives."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from performance.caching import tracing, vault
from performance.caching.conf import conf
from performance.caching.copies import Found, Lease, Ticket, remember
from performance.caching.envelope import Envelope, poisoned, seal
from performance.caching.errors import OriginBusy, RefreshFailed, StoreAway
from performance.core import signals

if TYPE_CHECKING:
    from performance.caching.families import Family

Load = Callable[[], Any]


def load_and_store(
    family: Family[..., Any],
    ticket: Ticket,
    load: Load,
    generations: Sequence[bytes | None] | None,
    *,
    lease: Lease | None = None,
    known: bool = False,
) -> Found:
    """Run the loader; keep its value in both tiers. `generations` None keeps it in memory only.

    They are those from before the loader runs: what it reads may be changed while it reads, and
    then the entry carries old generations and nobody ever takes it. `lease` is given back in the
    same round trip. `known` says that the store has the key already, so no budget is spent.
    """
    seen = _minted_or_none(ticket, generations)
    if generations is not None and seen is not None and poisoned(seen):
        return past_the_cache(family, ticket.arguments, load)
    created_s = ticket.runtime.clock()
    made = run_loader(family, ticket.key, load)
    ttl_s = family.ttl_of(made.value)
    soft_s = created_s + ttl_s * (1 - conf().jitter * random.random())
    stored = seen is not None and ttl_s > 0 and _fits(family, made.payload, known)
    found = Found(
        made.held,
        "miss",
        created_s,
        ticket.policy.fresh_until_s(created_s, soft_s, ttl_s),
        ticket.policy.ends_s(created_s, ttl_s),
        stored=stored,
    )
    cost_ms = made.took_s * 1000
    if stored and seen is not None:
        schema = family.codec.schema_hash
        envelope = Envelope(schema, created_s, soft_s, ttl_s, cost_ms, seen, False, made.payload)
        _write(family, ticket, envelope, lease)
    weight = len(made.payload)
    if weight <= conf().max_value_bytes:
        remember(family, ticket, found, weight=weight, cost_ms=cost_ms)
    return found


def _fits(family: Family[..., Any], payload: bytes, known: bool) -> bool:
    """Return whether the store may take it; what is too big, or one key too many, is counted."""
    if len(payload) > conf().max_value_bytes:
        family.counts.too_big += 1
        return False
    if family.budget.full and not known:
        family.counts.over_budget += 1
        return False
    return True


def _write(
    family: Family[..., Any], ticket: Ticket, envelope: Envelope, lease: Lease | None
) -> None:
    policy = ticket.policy
    compress = policy.compression and not family.codec.compressed
    data = seal(
        envelope,
        compress_from_bytes=conf().compress_from_bytes if compress else None,
        lock=vault.lock(ticket.key),
    )
    kept_s = min(policy.ttl_s, envelope.ttl_s) + policy.max_stale_s
    returned = lease.name if lease is not None and lease.ours else None
    counter = family.budget.counter(ticket.runtime.clock())
    try:
        ticket.runtime.store.write(ticket.key, data, int(kept_s * 1000) + 1, returned, counter)
    except StoreAway:  # a later miss; the breaker has counted it
        if lease is not None:
            ticket.runtime.leave_behind(lease.name, lease.token)
    family.counts.written_bytes += len(data)


def give_back(ticket: Ticket, lease: Lease) -> None:
    """Return a lease with nothing computed under it."""
    try:
        ticket.runtime.store.release(lease.name, lease.token)
    except StoreAway:
        ticket.runtime.leave_behind(lease.name, lease.token)


def _minted_or_none(
    ticket: Ticket, generations: Sequence[bytes | None] | None
) -> tuple[bytes, ...] | None:
    try:
        return None if generations is None else minted(ticket, generations)
    except StoreAway:
        return None


def minted(ticket: Ticket, generations: Sequence[bytes | None]) -> tuple[bytes, ...]:
    """Return all generations, new ones for the tags that have none; StoreAway if that fails."""
    missing = [
        key for key, there in zip(ticket.generation_keys, generations, strict=True) if there is None
    ]
    new = iter(ticket.runtime.store.mint(missing) if missing else ())
    return tuple(next(new) if there is None else there for there in generations)


class Made(msgspec.Struct, frozen=True):
    """What a loader gave."""

    value: Any
    held: Any
    """As a `Found` holds it."""
    payload: bytes
    took_s: float


def run_loader(family: Family[..., Any], key: str, load: Load) -> Made:
    """Run it and encode what it gives.

    What the family lists in `raises` is an answer and passes as it is; the rest is RefreshFailed.
    At most `parallel` run at once in this process: who finds no place within `lease_wait_s` gets
    RefreshFailed with OriginBusy as its cause, which is what keeps a slow origin from being buried.
    """
    if not family.places.acquire(timeout=conf().lease_wait_s):
        family.counts.busy += 1
        raise _failed(family, key) from OriginBusy(family.name, family.parallel)
    started = time.perf_counter()
    ok = False
    try:
        with tracing.span("cache.load", family=family.name):
            value = load()
        held, payload = family.codec.encode(value)
        ok = True
    except family.raises:
        raise
    except Exception as error:
        family.counts.failed += 1
        raise _failed(family, key) from error
    finally:
        family.places.release()
        took_s = time.perf_counter() - started
        signals.recorder.observe("cache", f"{family.name}:load", took_s, ok)
    family.counts.loaded(took_s)
    return Made(value, held, payload, took_s)


def _failed(family: Family[..., Any], key: str) -> RefreshFailed:
    return RefreshFailed(key.partition(":v:")[2] or key, None, family.policy.max_stale_s)


def past_the_cache(family: Family[..., Any], arguments: tuple[Any, ...], load: Load) -> Found:
    """Compute and keep nothing: this thread's transaction has seen what others must not."""
    family.counts.bypass += 1
    made = run_loader(family, family.name, load)
    return Found(made.held, "bypass", time.time(), 0.0, stored=False)


def quietly(call: Callable[..., None], *arguments: Any) -> None:
    """Make a call whose failure costs a later miss and nothing else; the breaker has counted it."""
    try:
        call(*arguments)
    except StoreAway:
        return
