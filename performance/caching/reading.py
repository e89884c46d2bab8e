"""The way of a read: memory, then the store, then whoever computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from performance.caching import copies, tracing, transactions
from performance.caching import runtime as runtimes
from performance.caching.computing import compute, must_not_store, refresh_behind, refresh_now
from performance.caching.conf import conf
from performance.caching.copies import Copy, Found, Peek, Ticket, assess, open_copy, ticket
from performance.caching.envelope import State
from performance.caching.errors import StoreAway
from performance.caching.loading import past_the_cache

if TYPE_CHECKING:
    from performance.caching.families import Family
    from performance.caching.memory import Entry

Arguments = tuple[Any, ...]
Load = Callable[[], Any]


def in_memory(family: Family[..., Any], arguments: Arguments) -> Entry | None:
    try:
        return family.memory.get(arguments)
    except TypeError:  # a list or dict among the arguments: the store's key has no such limit
        return None


def from_memory(family: Family[..., Any], entry: Entry) -> Found:
    family.counts.hit_l1 += 1
    family.counts.saved_us += entry.cost_us
    return Found(entry.value, "l1", entry.created_s, entry.fresh_until_s, entry.ends_s)


def find(family: Family[..., Any], arguments: Arguments, load: Load) -> Found:
    """Return the value as held, from wherever it is quickest; RefreshFailed when nothing is."""
    if transactions.waiting and transactions.holds_back(family.tags_of(arguments)):
        return past_the_cache(family, arguments, load)
    entry = in_memory(family, arguments)
    if entry is not None:
        return from_memory(family, entry)
    if not conf().enabled:
        return past_the_cache(family, arguments, load)
    this = ticket(family, arguments)
    copy = _asked(family, this)
    found = None if copy is None else from_copy(family, this, copy, load)
    if found is not None:
        return found
    if must_not_store() or (copy is not None and copy.poisoned):
        return past_the_cache(family, arguments, load)
    with tracing.span("cache.compute", family=family.name, key=this.readable):
        return compute(family, this, copy, load)


def from_store(
    family: Family[..., Any], arguments: Arguments, load: Load, *, outdated_s: float = 0
) -> Found | None:
    """Return what the store has to serve without computing, for whoever has looked into memory.

    A stale copy is refreshed behind.
    `outdated_s` is how old a copy may be that an invalidation ended and that is served once more,
    while it is refreshed behind: for callers whose answers others keep as long anyway.
    """
    if not conf().enabled:
        return None
    this = ticket(family, arguments)
    copy = _asked(family, this)
    if copy is None:
        return None
    return from_copy(family, this, copy, load) or _once_more(family, this, copy, load, outdated_s)


def _once_more(
    family: Family[..., Any], this: Ticket, copy: Copy, load: Load, outdated_s: float
) -> Found | None:
    """Return what an invalidation ended, if it is young enough; never of an open transaction."""
    ended = copy.outdated
    if ended is None or copy.poisoned or this.runtime.clock() - ended.created_s >= outdated_s:
        return None
    shown = Copy(State.STALE, ended, copy.generations)
    found = open_copy(family, this, shown, "outdated")
    if found is not None:
        family.counts.stale += 1
        refresh_behind(family, this, load, copy)
    return found


def find_many(family: Family[..., Any], wanted: Sequence[Arguments]) -> dict[int, Found]:
    """Return by index what memory has, and with one MGET what the store has of the rest."""
    found: dict[int, Found] = {}
    tickets: dict[int, Ticket] = {}
    for index, arguments in enumerate(wanted):
        entry = None if transactions.waiting else in_memory(family, arguments)
        if entry is not None:
            found[index] = from_memory(family, entry)
        else:
            tickets[index] = ticket(family, arguments)
    if family.policy.strategy == "memory" or not conf().enabled:
        return found
    for index, values in copies.read_together(tickets).items():
        this = tickets[index]
        if family.warm is not None:
            this.runtime.asked.add(this.key)
        if not (transactions.holds_back(this.tags) or this.runtime.untold(this.tags)):
            load = family.load(this.arguments)
            stored = from_copy(family, this, assess(family, this, values), load)
            if stored is not None:
                found[index] = stored
    return found


def peek(family: Family[..., Any], arguments: Arguments) -> Peek[Any]:
    """Return what is stored and how old it is; computes and refreshes nothing."""
    now_s = runtimes.current().clock()
    entry = in_memory(family, arguments)
    if entry is not None:
        value = family.codec.give(entry.value)
        left_s = max(0.0, entry.fresh_until_s - now_s)
        return Peek(value, "fresh", max(0.0, now_s - entry.created_s), "l1", left_s)
    this = ticket(family, arguments)
    copy = look(family, this)
    found = None if copy is None else open_copy(family, this, copy, "l2", served=False)
    if copy is None or found is None:
        return Peek(None, "miss", None, "none")
    value = family.codec.give(found.held)
    left_s = max(0.0, found.fresh_until_s - now_s) if copy.state is State.FRESH else 0.0
    return Peek(value, copy.state.value, max(0.0, now_s - found.created_s), "l2", left_s)


def refresh(family: Family[..., Any], arguments: Arguments, load: Load) -> Found:
    """Compute now, whatever is stored, and store it; RefreshFailed when the loader fails."""
    if must_not_store() or not conf().enabled:
        return past_the_cache(family, arguments, load)
    return refresh_now(family, ticket(family, arguments), load)


def _asked(family: Family[..., Any], this: Ticket) -> Copy | None:
    """Look for a reader: what beat may warm is noted as read."""
    if family.warm is not None:
        this.runtime.asked.add(this.key)
    return look(family, this)


def look(family: Family[..., Any], this: Ticket) -> Copy | None:
    """Return what the store has; None when it is away, not used by this family, or behind what
    this process has changed."""
    if this.policy.strategy == "memory" or this.runtime.untold(this.tags):
        return None
    try:
        return assess(family, this, this.runtime.store.read(this.keys))
    except StoreAway:
        return None


def from_copy(family: Family[..., Any], this: Ticket, copy: Copy, load: Load) -> Found | None:
    """Return the copy as a reader gets it, None when it cannot be served as it is.

    A stale one, and a fresh one near its end, is refreshed behind.
    """
    if copy.envelope is None or copy.state not in (State.FRESH, State.STALE):
        return None
    fresh = copy.state is State.FRESH
    found = open_copy(family, this, copy, "l2" if fresh else "stale")
    if found is None:
        return None
    if not fresh:
        family.counts.stale += 1
        refresh_behind(family, this, load, copy)
        return found
    family.counts.hit_l2 += 1
    if copies.is_early(copy.envelope, this.policy, this.runtime.clock()):
        family.counts.early += 1
        refresh_behind(family, this, load, copy)
    return found
