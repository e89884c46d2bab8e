"""The first tier: values in this process's memory, and how they learn that a tag has changed.

An entry holds one Cell a tag. Whoever hears of a change kills the cell, and with it every entry
that holds it: no index from tags to entries, and nothing to clean up. A fetch takes its cells
*before* it asks the store, so a change that is heard of meanwhile makes the late entry dead.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

ENTRY_OVERHEAD_BYTES = 400
TRIAL_SHARE = 0.1
"""Of the room, for entries that have not shown yet that they are read more than once."""
HITS_COUNTED = 3
TURNS_AT_MOST = 32
"""Entries that one eviction may spare: an end to looking, when everything is read all the time."""
OVER = float("-inf")


class Cell:
    """One tag as this process knows it: alive until somebody says that the tag has changed."""

    __slots__ = ("__weakref__", "alive")

    def __init__(self) -> None:
        self.alive = True


class Cells:
    """The living cells by tag. An unused cell vanishes by itself: the mapping holds it weakly."""

    def __init__(self) -> None:
        self._cells: weakref.WeakValueDictionary[str, Cell] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def take(self, tags: Iterable[str]) -> tuple[Cell, ...]:
        with self._lock:
            return tuple(self._take(tag) for tag in tags)

    def _take(self, tag: str) -> Cell:
        cell = self._cells.get(tag)
        if cell is None:
            cell = self._cells[tag] = Cell()
        return cell

    def kill(self, tags: Iterable[str]) -> None:
        with self._lock:
            for tag in tags:
                cell = self._cells.pop(tag, None)
                if cell is not None:
                    cell.alive = False

    def kill_all(self) -> None:
        with self._lock:
            for cell in list(self._cells.values()):
                cell.alive = False
            self._cells.clear()


class Entry:
    """One value in memory. `until` is monotonic, so a clock that jumps moves nothing.

    Whoever holds an entry that memory has given up finds its `until` to be OVER.
    """

    __slots__ = (
        "cells",
        "cost_us",
        "created_s",
        "ends_s",
        "fresh_until_s",
        "hits",
        "proven",
        "until",
        "value",
        "weight",
    )

    def __init__(
        self,
        value: Any,
        *,
        until: float,
        cells: tuple[Cell, ...],
        created_s: float,
        fresh_until_s: float,
        ends_s: float,
        cost_us: int,
        weight: int,
    ) -> None:
        self.value = value
        self.until = until
        self.cells = cells
        self.created_s = created_s
        self.fresh_until_s = fresh_until_s
        self.ends_s = ends_s
        self.cost_us = cost_us
        self.weight = weight
        self.hits = 0
        """Reads since it last had to show that it is read; near enough, threads may miscount."""
        self.proven = False
        """True once it has outlived its trial."""

    def alive(self) -> bool:
        """Return whether it is within its time, and no tag of it has changed."""
        if self.until <= time.monotonic():
            return False
        for cell in self.cells:  # noqa: SIM110 - a generator costs more than the whole loop
            if not cell.alive:
                return False
        return True


_PLAIN = frozenset({str, bytes, type(None)})
"""Types whose values are equal only to their own kind."""
_SIMPLE = _PLAIN | {int, bool}
"""Types that are told apart by themselves."""


def _key(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments as a dict's key: 1, 1.0 and True are three, as they are in the store.

    So are one moment in two time zones, and 1.0 and 1.00. Of plain types they are their own key,
    which is what lets the quickest read (`Family.__call__`) ask without building anything.
    """
    kinds = tuple(map(type, arguments))
    if _PLAIN.issuperset(kinds):
        return arguments
    if _SIMPLE.issuperset(kinds):
        return arguments + kinds
    return (*arguments, *map(_kind, arguments))


def _kind(argument: Any) -> Any:
    kind = type(argument)
    if kind in _SIMPLE:
        return kind
    if kind in (tuple, frozenset):
        return (
            (kind, *map(_kind, argument))
            if kind is tuple
            else (kind, repr(sorted(map(repr, argument))))
        )
    return kind, str(argument)  # a float, a Decimal, a date: what is written alike is the same


class Memory:
    """One family's entries, bounded in bytes or, if told, in count.

    What is new is on trial, in a tenth of the room: read less than twice there, it goes as it has
    come, in order, and pushes nobody else out. So a crawler that reads everything once flushes
    nothing. Who comes back soon after that, and who was read, stays in the rest, where each turn
    costs one read (S3-FIFO: Yang and others, "FIFO queues are all you need for cache eviction",
    2023). A read changes no order, so it takes no lock.

    `plain(arguments)` is the bare look-up, without any check, of arguments that are text, bytes or
    None; None for all others.
    """

    def __init__(self, *, max_bytes: int, max_entries: int | None = None) -> None:
        self._entries: dict[Any, Entry] = {}
        self.plain = self._entries.get
        self.max_bytes = max_bytes
        self._counted = max_entries is not None
        self._room = max_bytes if max_entries is None else max_entries
        self._lock = threading.Lock()
        self._trial: OrderedDict[Any, None] = OrderedDict()
        self._proven: OrderedDict[Any, None] = OrderedDict()
        self._gone: OrderedDict[Any, None] = OrderedDict()
        """Keys that have failed their trial lately: they are let in for good if they come again."""
        self._taken = self._on_trial = 0
        self.evicted = 0
        """Entries that went because others needed the room."""

    def get(self, arguments: tuple[Any, ...]) -> Entry | None:
        """Return the entry when it is alive and within its time; TypeError for unhashable keys."""
        return self.get_keyed(_key(arguments))

    @staticmethod
    def key(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what `get_keyed` takes, for whoever asks for the same arguments many times."""
        return _key(arguments)

    def get_keyed(self, key: tuple[Any, ...]) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or not entry.alive():
            return None
        entry.hits += 1
        return entry

    def put(self, arguments: tuple[Any, ...], entry: Entry) -> None:
        """Keep it, unless it alone is over the bound or no dict takes its arguments."""
        if entry.weight + ENTRY_OVERHEAD_BYTES > self.max_bytes:
            return
        key = _key(arguments)
        with self._lock:
            try:
                before = self._entries.get(key)
            except TypeError:  # a list or dict among the arguments: the store has no such limit
                return
            if before is None:
                self._admit(key, entry)
            else:
                self._replace(before, entry)
            self._entries[key] = entry
            while self._taken > self._room:
                self._evict()

    def clear(self) -> None:
        with self._lock:
            for entry in self._entries.values():
                entry.until = OVER
            self._entries.clear()
            for keys in (self._trial, self._proven, self._gone):
                keys.clear()
            self._taken = self._on_trial = 0

    def pass_time(self, seconds: float) -> None:
        """Let every entry be `seconds` older, for a test's clock."""
        for entry in self._all():
            entry.until -= seconds

    def _all(self) -> list[Entry]:
        """Return all of one moment: a walk that another thread's store crosses is an error."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        if not self._counted:
            return self._taken
        return sum(entry.weight + ENTRY_OVERHEAD_BYTES for entry in self._all())

    def oldest_s(self, now_s: float) -> float:
        """Return the age in seconds of the oldest value that may still be served; 0 for none."""
        now = time.monotonic()
        entries = [entry for entry in self._all() if entry.until >= now]
        return max((now_s - entry.created_s for entry in entries), default=0.0)

    # --- who stays; under the lock ----------------------------------------------------------------

    def _size(self, entry: Entry) -> int:
        return 1 if self._counted else entry.weight + ENTRY_OVERHEAD_BYTES

    def _admit(self, key: Any, entry: Entry) -> None:
        size = self._size(entry)
        self._taken += size
        if key in self._gone:
            del self._gone[key]
            entry.proven = True
            self._proven[key] = None
        else:
            self._trial[key] = None
            self._on_trial += size

    def _replace(self, before: Entry, entry: Entry) -> None:
        """The same key has a newer value: it keeps its place, and what it has shown."""
        entry.hits, entry.proven = before.hits, before.proven
        grown = self._size(entry) - self._size(before)
        self._taken += grown
        if not entry.proven:
            self._on_trial += grown
        before.until = OVER

    def _evict(self) -> None:
        if self._on_trial > self._room * TRIAL_SHARE or not self._proven:
            self._end_a_trial()
        else:
            self._evict_proven()

    def _end_a_trial(self) -> None:
        """Take the oldest one on trial: it stays for good, or goes."""
        key, _ = self._trial.popitem(last=False)
        entry = self._entries[key]
        self._on_trial -= self._size(entry)
        if entry.hits > 1:
            entry.proven, entry.hits = True, 0
            self._proven[key] = None
            return
        self._drop(key, entry)
        self._gone[key] = None
        while len(self._gone) > max(len(self._entries), 1):
            self._gone.popitem(last=False)

    def _evict_proven(self) -> None:
        """Take the one whose turn it is; one that was read has another turn, up to three times."""
        now = time.monotonic()
        for turn in range(TURNS_AT_MOST):
            key, _ = self._proven.popitem(last=False)
            entry = self._entries[key]
            if not entry.hits or entry.until < now or turn == TURNS_AT_MOST - 1:
                self._drop(key, entry)
                return
            entry.hits = min(entry.hits, HITS_COUNTED) - 1
            self._proven[key] = None

    def _drop(self, key: Any, entry: Entry) -> None:
        self._taken -= self._size(entry)
        entry.until = OVER
        del self._entries[key]
        self.evicted += 1
