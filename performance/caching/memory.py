"""The first tier: values in this process's memory, and how they learn that a tag has changed.

An entry holds one Cell a tag. Whoever hears of a change kills the cell, and with it every entry
that holds it: no index from tags to entries, and nothing to clean up. A fetch takes its cells
*before* it asks the store, so a change that is heard of meanwhile makes the late entry dead.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

import cachebox

ENTRY_OVERHEAD_BYTES = 400


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
    """One value in memory. `until` is monotonic, so a clock that jumps moves nothing."""

    __slots__ = (
        "answers",
        "cells",
        "cost_us",
        "created_s",
        "ends_s",
        "fresh_until_s",
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
        self.answers: dict[Any, Any] | None = None
        """HTTP answers made of it lately, by what was asked; they go with it."""


def _weight(key: Any, entry: Entry) -> int:
    return entry.weight + ENTRY_OVERHEAD_BYTES


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
    """One family's entries, least recently used first out; bounded in bytes and, if told, in count.

    `plain(arguments)` is the bare look-up, without any check, of arguments that are text, bytes or
    None; None for all others.
    """

    def __init__(self, *, max_bytes: int, max_entries: int | None = None) -> None:
        self._entries: cachebox.LRUCache[Any, Entry] = (
            cachebox.LRUCache(max_bytes, getsizeof=_weight)
            if max_entries is None
            else cachebox.LRUCache(max_entries)
        )
        self.plain = self._entries.get
        self.max_bytes = max_bytes
        self.evicted = 0
        """Entries that went because others needed the room; near enough, threads may miscount."""

    def get(self, arguments: tuple[Any, ...]) -> Entry | None:
        """Return the entry when it is alive and within its time; TypeError for unhashable keys."""
        return self.get_keyed(_key(arguments))

    @staticmethod
    def key(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what `get_keyed` takes, for whoever asks for the same arguments many times."""
        return _key(arguments)

    def get_keyed(self, key: tuple[Any, ...]) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or entry.until < time.monotonic():
            return None
        for cell in entry.cells:
            if not cell.alive:
                return None
        return entry

    def put(self, arguments: tuple[Any, ...], entry: Entry) -> None:
        """Keep it, unless it alone is over the bound or no dict takes its arguments."""
        if entry.weight + ENTRY_OVERHEAD_BYTES > self.max_bytes:
            return
        before = len(self._entries)
        try:
            added = self._entries.insert(_key(arguments), entry) is None
        except TypeError:  # a list or dict among the arguments: the store's key has no such limit
            return
        self.evicted += max(0, before + added - len(self._entries))

    def drop(self, arguments: tuple[Any, ...]) -> None:
        try:
            self._entries.pop(_key(arguments), None)
        except TypeError:  # never kept: see put
            return

    def clear(self) -> None:
        self._entries.clear()

    def pass_time(self, seconds: float) -> None:
        """Let every entry be `seconds` older, for a test's clock."""
        for entry in self._all():
            entry.until -= seconds

    def _all(self) -> list[Entry]:
        """Return all of one moment: a walk that another thread's store crosses is an error."""
        return list(self._entries.copy().values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        return sum(_weight(None, entry) for entry in self._all())

    def oldest_s(self, now_s: float) -> float:
        """Return the age in seconds of the oldest value that may still be served; 0 for none."""
        now = time.monotonic()
        entries = [entry for entry in self._all() if entry.until >= now]
        return max((now_s - entry.created_s for entry in entries), default=0.0)
