"""Computing: one loader run for a cold key, whoever asks and wherever; what to do when it fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from performance.caching import transactions
from performance.caching.conf import conf
from performance.caching.copies import Copy, Found, Ticket, assess, open_copy, remember
from performance.caching.envelope import Envelope, State, seal
from performance.caching.errors import RefreshFailed, StoreAway
from performance.caching.store import new_token
from performance.core import signals

if TYPE_CHECKING:
    from performance.caching.families import Family

FIRST_POLL_S = 0.002
LAST_POLL_S = 0.025

Load = Callable[[], Any]


def compute(family: Family[..., Any], ticket: Ticket, copy: Copy | None, load: Load) -> Found:
    """Return a value computed now, by us or by whoever is already at it; RefreshFailed if not.

    `copy` is a fallback that may be served when that fails or takes longer than `patience_s`.
    """
    if copy is not None and copy.state is State.FALLBACK:
        return _with_fallback(family, ticket, copy, load)
    seen = None if copy is None else copy.generations
    family.counts.miss += 1
    found, shared = ticket.runtime.flights.run(
        (ticket.key, ticket.cells, seen),
        lambda: _lead(family, ticket, load, wanted=(State.FRESH, State.STALE)),
        wait_s=conf().lease_wait_s,
    )
    if shared:
        family.counts.waited += 1
        return Found(found.held, "miss", found.created_s, found.fresh_until_s, shared=True)
    result: Found = found
    return result


def refresh_behind(
    family: Family[..., Any], ticket: Ticket, load: Load, envelope: Envelope
) -> Future[Any] | None:
    """Refresh in a thread of ours unless that is under way; None when too many wait already."""
    return ticket.runtime.workers.submit(
        ticket.key, lambda: _refresh(family, ticket, load, envelope.created_s)
    )


def refresh_now(family: Family[..., Any], ticket: Ticket, load: Load) -> Found:
    """Compute whatever is stored; under the lease when it is free, so that others wait for us."""
    token = new_token()
    try:
        seen = _minted(ticket, ticket.runtime.store.read(ticket.generation_keys))
        lease = ticket.lease(seen)
        won, values = ticket.runtime.store.claim(lease, token, _lease_ms(), ticket.keys)
    except StoreAway:
        return _load_and_store(family, ticket, load, None)
    try:
        return _load_and_store(family, ticket, load, values[1:])
    finally:
        if won:
            _quietly(ticket.runtime.store.release, lease, token)


def _refresh(
    family: Family[..., Any], ticket: Ticket, load: Load, older_than_s: float
) -> Found | None:
    """Compute under the lease; None when another process has it, and then its result will do."""
    store, token = ticket.runtime.store, new_token()
    try:
        lease = ticket.lease(_minted(ticket, store.read(ticket.generation_keys)))
        won, values = store.claim(lease, token, _lease_ms(), ticket.keys)
    except StoreAway:
        return None
    if not won:
        return None
    try:
        copy = assess(family, ticket, values)
        if copy.state is State.FRESH and copy.envelope and copy.envelope.created_s > older_than_s:
            return open_copy(family, ticket, copy, "l2")  # somebody refreshed it before our turn
        return _load_and_store(family, ticket, load, values[1:])
    except RefreshFailed:
        _quietly(store.hold_off, lease, token, int(conf().retry_s * 1000))
        token = b""  # the lease stays until then: nobody tries again meanwhile
        raise
    finally:
        if token:
            _quietly(store.release, lease, token)


def _lease_ms() -> int:
    return int(conf().lease_s * 1000)


def _with_fallback(family: Family[..., Any], ticket: Ticket, copy: Copy, load: Load) -> Found:
    assert copy.envelope is not None
    future = refresh_behind(family, ticket, load, copy.envelope)
    try:
        fresh = None if future is None else future.result(timeout=conf().patience_s)
    except (FutureTimeoutError, CancelledError, RefreshFailed):
        fresh = None
    if fresh is not None:
        family.counts.miss += 1
        result: Found = fresh
        return result
    found = open_copy(family, ticket, copy, "fallback")
    if found is None:
        return _lead(family, ticket, load, wanted=(State.FRESH, State.STALE))
    family.counts.fallback += 1
    return found


def _lead(
    family: Family[..., Any], ticket: Ticket, load: Load, *, wanted: tuple[State, ...]
) -> Found:
    """Take the lease, or wait for the one who has it, at most `lease_wait_s`; then compute."""
    if ticket.policy.strategy == "memory":
        return _load_and_store(family, ticket, load, None)
    store, token = ticket.runtime.store, new_token()
    give_up_at = time.monotonic() + conf().lease_wait_s
    pause_s = FIRST_POLL_S
    try:
        seen = _minted(ticket, store.read(ticket.generation_keys))
        while True:
            lease = ticket.lease(seen)
            won, values = store.claim(lease, token, _lease_ms(), ticket.keys)
            copy = assess(family, ticket, values)
            found = open_copy(family, ticket, copy, "l2") if copy.state in wanted else None
            if found is not None or won or time.monotonic() > give_up_at:
                break
            if tuple(values[1:]) != seen:  # invalidated meanwhile: another lease counts now
                seen = _minted(ticket, values[1:])
                continue
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(pause_s * 2, LAST_POLL_S)
    except StoreAway:
        return _load_and_store(family, ticket, load, None)
    try:
        if found is not None:
            family.counts.waited += 1
            return found
        return _load_and_store(family, ticket, load, values[1:])
    finally:
        if won:
            _quietly(store.release, lease, token)


def _load_and_store(
    family: Family[..., Any],
    ticket: Ticket,
    load: Load,
    generations: list[bytes | None] | None,
) -> Found:
    """Run the loader; keep its value in both tiers. `generations` None keeps it in memory only.

    They are those from before the loader runs: what it reads may be changed while it reads, and
    then the entry carries old generations and nobody ever takes it.
    """
    seen = _seen(ticket, generations)
    created_s = ticket.runtime.clock()
    payload, took_s = run_loader(family, ticket.key, load)
    policy = ticket.policy
    soft_s = created_s + policy.ttl_s * (1 - conf().jitter * random.random())
    stored = seen is not None and len(payload) <= conf().max_value_bytes
    found = Found(family.hold(payload), "miss", created_s, soft_s, stored=stored)
    if len(payload) > conf().max_value_bytes:
        family.counts.too_big += 1
        return found
    if seen is not None:
        envelope = Envelope(
            family.schema_hash, created_s, soft_s, took_s * 1000, seen, False, payload
        )
        threshold = conf().compress_from_bytes if policy.compression else None
        data = seal(envelope, compress_from_bytes=threshold)
        _quietly(ticket.runtime.store.write, ticket.key, data, int(policy.kept_s * 1000) + 1)
        family.counts.written_bytes += len(data)
    remember(family, ticket, found, weight=len(payload), cost_ms=took_s * 1000)
    return found


def _seen(ticket: Ticket, generations: list[bytes | None] | None) -> tuple[bytes, ...] | None:
    try:
        return None if generations is None else _minted(ticket, generations)
    except StoreAway:
        return None


def _minted(ticket: Ticket, generations: list[bytes | None]) -> tuple[bytes, ...]:
    """Return all generations, new ones for the tags that have none; StoreAway if that fails."""
    missing = [
        key for key, there in zip(ticket.generation_keys, generations, strict=True) if there is None
    ]
    minted = iter(ticket.runtime.store.mint(missing) if missing else ())
    return tuple(next(minted) if there is None else there for there in generations)


def run_loader(family: Family[..., Any], key: str, load: Load) -> tuple[bytes, float]:
    """Return the encoded value and the seconds it took.

    What the family lists in `raises` is an answer and passes as it is; the rest is RefreshFailed.
    """
    started = time.perf_counter()
    ok = False
    try:
        payload = family.encode(load())
        ok = True
    except family.raises:
        raise
    except Exception as error:
        family.counts.failed += 1
        readable = key.partition(":v:")[2] or key
        raise RefreshFailed(readable, None, family.policy.max_stale_s) from error
    finally:
        took_s = time.perf_counter() - started
        signals.recorder.observe("cache", f"{family.name}:load", took_s, ok)
    family.counts.loaded(took_s)
    return payload, took_s


def past_the_cache(family: Family[..., Any], arguments: tuple[Any, ...], load: Load) -> Found:
    """Compute and keep nothing: this thread's transaction has seen what others must not."""
    family.counts.bypass += 1
    payload, _ = run_loader(family, family.name, load)
    return Found(family.hold(payload), "bypass", time.time(), 0.0, stored=False)


def must_not_store() -> bool:
    return transactions.in_transaction()


def _quietly(call: Callable[..., None], *arguments: Any) -> None:
    """Make a call whose failure costs a later miss and nothing else; the breaker has counted it."""
    try:
        call(*arguments)
    except StoreAway:
        return
