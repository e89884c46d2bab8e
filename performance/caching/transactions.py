"""Where the cache meets the database's transactions.

An invalidation inside a transaction waits for its COMMIT, and goes with its rollback, or with that
of its savepoint: Django's own list of commit hooks is the only place where it is kept.

A strict one poisons its tags at once: until COMMIT, nothing of them is served or kept. A process
that dies between COMMIT and its hook leaves the poison behind, which ends by itself, and with it
every entry from before.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence

from django.db import connections, transaction

from performance.caching.store import new_token

Poison = tuple[bytes, frozenset[str]]
"""The holder's token, and the tags."""

waiting: set[_Waiting] = set()
"""Invalidations of this process that no COMMIT has let go yet. Truthy only while there are any, so
that a hit can ask for nothing: a rolled back one leaves by itself when Django drops it."""
rolled_back: deque[Poison] = deque()
"""Poisons whose transaction was rolled back: the keeper takes them away within half a second."""


class _Waiting(weakref.ref["Invalidation"]):
    """A reference that knows, when its hook is gone, which poison that has left behind."""

    poison: Poison | None = None

    def __new__(cls, hook: Invalidation) -> _Waiting:
        return super().__new__(cls, hook, _gone)


def _gone(ref: weakref.ref[Invalidation]) -> None:
    if isinstance(ref, _Waiting):
        waiting.discard(ref)
        if ref.poison is not None:
            rolled_back.append(ref.poison)  # no calls here: this runs wherever memory is freed


class Invalidation:
    """The commit hook: calling it invalidates. `holder` is the token of its poison, if strict."""

    def __init__(
        self, invalidate: Callable[[Invalidation], object], *, hard: bool, holder: bytes | None
    ) -> None:
        self.tags: frozenset[str] = frozenset()
        self.hard = hard
        self.holder = holder
        self._invalidate = invalidate
        self._waiting = _Waiting(self)
        waiting.add(self._waiting)

    def add(self, tags: tuple[str, ...]) -> None:
        self.tags = self.tags.union(tags)
        if self.holder is not None:
            self._waiting.poison = (self.holder, self.tags)

    def __call__(self) -> None:
        self._waiting.poison = None
        self._invalidate(self)


def poisons() -> list[Poison]:
    """Return the poisons of the transactions that are open in this process."""
    return [ref.poison for ref in list(waiting) if ref.poison is not None]


def in_transaction(using: str | None = None) -> bool:
    """Return whether this thread is inside an atomic block; a TestCase's own does not count."""
    aliases = connections.all(initialized_only=True) if using is None else [connections[using]]
    return any(
        connection.in_atomic_block
        and not all(block._from_testcase for block in connection.atomic_blocks)  # type: ignore[attr-defined]
        for connection in aliases
    )


def on_commit(
    tags: tuple[str, ...],
    invalidate: Callable[[Invalidation], object],
    *,
    hard: bool = True,
    strict: bool = False,
    using: str,
) -> Invalidation:
    """Call `invalidate` after the outermost COMMIT, whatever the other hooks do.

    A thousand writes of one transaction make one hook: those of the same savepoints share a fate.
    """
    connection = connections[using]
    hook = _last(connection.run_on_commit, set(connection.savepoint_ids), hard, strict)
    if hook is None:
        hook = Invalidation(invalidate, hard=hard, holder=new_token() if strict else None)
        transaction.on_commit(hook, using=using, robust=True)
    hook.add(tags)
    return hook


def _last(
    hooks: Sequence[tuple[object, ...]], savepoints: set[str], hard: bool, strict: bool
) -> Invalidation | None:
    for sids, hook, *_ in reversed(hooks):
        if sids != savepoints or not isinstance(hook, Invalidation):
            return None
        if hook.hard is hard and (hook.holder is not None) is strict:
            return hook
    return None


def holds_back(tags: tuple[str, ...]) -> bool:
    """Return whether this thread's open transaction is going to invalidate one of `tags`.

    Such a reader has written what the cache does not know yet: it reads past the cache.
    """
    if not waiting:
        return False
    wanted = frozenset(tags)
    return any(
        isinstance(hook, Invalidation) and not hook.tags.isdisjoint(wanted)
        for connection in connections.all(initialized_only=True)
        for _, hook, *_ in connection.run_on_commit
    )
