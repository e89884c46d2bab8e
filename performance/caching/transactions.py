"""Where the cache meets the database's transactions.

An invalidation inside a transaction waits for its COMMIT, and goes with its rollback, or with that
of its savepoint: Django's own list of commit hooks is the only place where it is kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from django.db import connections, transaction

waiting: set[weakref.ref[Invalidation]] = set()
"""Invalidations of this process that no COMMIT has let go yet. Truthy only while there are any, so
that a hit can ask for nothing: a rolled back one leaves by itself when Django drops it."""


class Invalidation:
    """The commit hook: calling it invalidates."""

    def __init__(self, tags: tuple[str, ...], invalidate: Callable[[], object]) -> None:
        self.tags = frozenset(tags)
        self._invalidate = invalidate
        waiting.add(weakref.ref(self, waiting.discard))

    def __call__(self) -> None:
        self._invalidate()


def in_transaction(using: str | None = None) -> bool:
    """Return whether this thread is inside an atomic block; a TestCase's own does not count."""
    aliases = connections.all(initialized_only=True) if using is None else [connections[using]]
    return any(
        connection.in_atomic_block
        and not all(block._from_testcase for block in connection.atomic_blocks)  # type: ignore[attr-defined]
        for connection in aliases
    )


def on_commit(tags: tuple[str, ...], invalidate: Callable[[], object], *, using: str) -> None:
    """Call `invalidate` after the outermost COMMIT, whatever the other hooks do."""
    transaction.on_commit(Invalidation(tags, invalidate), using=using, robust=True)


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
