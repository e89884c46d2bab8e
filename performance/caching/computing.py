"""Who computes: one caller for a cold key, whoever asks and wherever; what others get meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from performance.caching import changes, transactions
from performance.caching.conf import conf
from performance.caching.copies import Copy, Found, Lease, Ticket, assess, open_copy
from performance.caching.envelope import State, poisoned
from performance.caching.errors import LoaderTooSlow, OriginBusy, RefreshFailed, StoreAway
from performance.caching.loading import Load, give_back, load_and_store, minted, quietly

if TYPE_CHECKING:
    from performance.caching.families import Family

FIRST_POLL_S = 0.002
LAST_POLL_S = 0.025
WAIT_AFTER_TROUBLE_S = 0.05
SERVED = (State.FRESH, State.STALE)


def compute(family: Family[..., Any], ticket: Ticket, copy: Copy | None, load: Load) -> Found:
    """Return a value computed now, by us or by whoever is already at it; RefreshFailed if not.

    `copy` is what the store had: None when it was away, or a fallback that may be served when
    computing fails or takes longer than the soft limit.
    """
    if copy is not None and copy.state is State.FALLBACK:
        return _with_fallback(family, ticket, copy, load)
    seen = None if copy is None else copy.generations
    family.counts.miss += 1
    family.counts.outdated += copy is not None and copy.outdated is not None
    found, shared = ticket.runtime.flights.run(
        (ticket.key, ticket.cells, seen),
        lambda: _within_hard_limit(family, ticket, lambda: _lead(family, ticket, load, seen)),
        wait_s=conf().lease_wait_s,
    )
    if shared:
        family.counts.waited += 1
        return Found(
            found.held, "miss", found.created_s, found.fresh_until_s, found.ends_s, shared=True
        )
    result: Found = found
    return result


def refresh_behind(
    family: Family[..., Any], ticket: Ticket, load: Load, copy: Copy
) -> Future[Any] | None:
    """Refresh in a thread of ours unless that is under way; None when too many wait already."""
    return ticket.runtime.workers.submit(ticket.key, lambda: _refresh(family, ticket, load, copy))


def refresh_now(family: Family[..., Any], ticket: Ticket, load: Load) -> Found:
    """Compute whatever is stored; under the lease when it is free, so that others wait for us."""
    try:
        seen = minted(ticket, ticket.runtime.store.read(ticket.generation_keys))
        lease, values = _claim(ticket, seen)
    except StoreAway:
        return load_and_store(family, ticket, load, None)
    found = _under(lease, family, ticket, load, values)
    if values[0] is not None:
        changes.note(family, assess(family, ticket, values).envelope, found)
    return found


def must_not_store() -> bool:
    return transactions.in_transaction()


def _within_hard_limit(
    family: Family[..., Any], ticket: Ticket, lead: Callable[[], Found]
) -> Found:
    """Run `lead`, here without a limit; with one in a thread of ours, and leave it behind after it.

    The next caller waits for the same run: a loader that cannot be ended is not started twice.
    """
    limit_s = ticket.policy.hard_limit_s
    if limit_s is None:
        return lead()
    future = ticket.runtime.workers.load(ticket.key, lead)
    if future is None:
        family.counts.busy += 1
        raise _failed(family, ticket) from OriginBusy(family.name, conf().load_threads)
    try:
        found: Found = future.result(timeout=limit_s)
    except FutureTimeoutError:
        family.counts.too_slow += 1
        raise _failed(family, ticket) from LoaderTooSlow(family.name, limit_s)
    return found


def _failed(family: Family[..., Any], ticket: Ticket) -> RefreshFailed:
    return RefreshFailed(ticket.readable, None, family.policy.max_stale_s)


def _claim(ticket: Ticket, seen: tuple[bytes, ...]) -> tuple[Lease | None, list[bytes | None]]:
    """Return the lease, None when another has it, and what the key and its tags hold after that."""
    lease = Lease.named(ticket.lease(seen), conf().lease_s)
    try:
        won, values = ticket.runtime.store.claim(
            lease.name, lease.token, int(conf().lease_s * 1000), ticket.keys
        )
    except StoreAway:  # it may have been set all the same
        ticket.runtime.leave_behind(lease.name, lease.token)
        raise
    return (lease if won else None), values


def _wait_s(ticket: Ticket) -> float:
    """Return how long to wait for whoever has the lease.

    Once the store was away, that may be nobody: a lease that somebody could not give back.
    """
    troubled = ticket.runtime.store.breaker.failed_within(conf().lease_s)
    return min(WAIT_AFTER_TROUBLE_S, conf().lease_wait_s) if troubled else conf().lease_wait_s


def _under(
    lease: Lease | None,
    family: Family[..., Any],
    ticket: Ticket,
    load: Load,
    values: list[bytes | None],
) -> Found:
    """Load and store; the lease goes back with the value, or by itself when there is none."""
    found = None
    try:
        found = load_and_store(
            family, ticket, load, values[1:], lease=lease, known=values[0] is not None
        )
        return found
    finally:
        if lease is not None and not (found and found.stored):
            give_back(ticket, lease)


def _refresh(family: Family[..., Any], ticket: Ticket, load: Load, old: Copy) -> Found | None:
    """Compute under the lease; None when another process has it, and then its result will do."""
    store = ticket.runtime.store
    try:
        lease, values = _claim(ticket, minted(ticket, old.generations))
    except StoreAway:
        return None
    if lease is None or poisoned(values[1:]):
        return None
    copy = assess(family, ticket, values)
    older_than_s = old.envelope.created_s if old.envelope else 0.0
    if copy.state is State.FRESH and copy.envelope and copy.envelope.created_s > older_than_s:
        give_back(ticket, lease)
        return open_copy(
            family, ticket, copy, "l2", served=False
        )  # somebody refreshed it before our turn
    try:
        found = load_and_store(family, ticket, load, values[1:], lease=lease, known=True)
    except RefreshFailed:
        # The lease stays until then: nobody tries again meanwhile.
        quietly(store.hold_off, lease.name, lease.token, int(conf().retry_s * 1000))
        raise
    except BaseException:
        give_back(ticket, lease)
        raise
    if not found.stored:
        give_back(ticket, lease)
    changes.note(family, copy.envelope, found)
    return found


def _with_fallback(family: Family[..., Any], ticket: Ticket, copy: Copy, load: Load) -> Found:
    future = refresh_behind(family, ticket, load, copy)
    limit_s = ticket.policy.soft_limit_s
    try:
        fresh = (
            None
            if future is None
            else future.result(timeout=conf().patience_s if limit_s is None else limit_s)
        )
    except (FutureTimeoutError, CancelledError, RefreshFailed):
        fresh = None
    if fresh is not None:
        family.counts.miss += 1
        result: Found = fresh
        return result
    found = open_copy(family, ticket, copy, "fallback")
    if found is None:
        return _lead(family, ticket, load, copy.generations)
    family.counts.fallback += 1
    return found


def _lead(
    family: Family[..., Any],
    ticket: Ticket,
    load: Load,
    generations: tuple[bytes | None, ...] | None,
) -> Found:
    """Take the lease, or wait for the one who has it, at most `lease_wait_s`; then compute.

    `generations` are those that the reader found; None when the store is away or not used.
    """
    if generations is None:
        return load_and_store(family, ticket, load, None)
    give_up_at = time.monotonic() + _wait_s(ticket)
    pause_s = FIRST_POLL_S
    try:
        seen = minted(ticket, generations)
        while True:
            lease, values = _claim(ticket, seen)
            copy = assess(family, ticket, values)
            found = open_copy(family, ticket, copy, "l2") if copy.state in SERVED else None
            if found is not None or lease is not None or time.monotonic() > give_up_at:
                break
            if tuple(values[1:]) != seen:  # invalidated meanwhile: another lease counts now
                seen = minted(ticket, values[1:])
                continue
            left_s = give_up_at - time.monotonic()
            time.sleep(max(0.0, min(pause_s * (0.5 + random.random()), left_s)))
            pause_s = min(pause_s * 2, LAST_POLL_S)
    except StoreAway:
        return load_and_store(family, ticket, load, None)
    if found is None:
        return _under(lease, family, ticket, load, values)
    family.counts.waited += 1
    if lease is not None:
        give_back(ticket, lease)
    return found
