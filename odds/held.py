"""What this process has read of each event already, so that the server sends only what moved.

An event's `revision` changes in the very transaction that changes its prices (`ingest_sql`). A
reader tells the statement which events it holds at which revision; the statement, in one snapshot,
answers with what stands in the list now and with the prices of the others alone. So what is held
cannot be outdated: it is used where the same snapshot says that nothing has changed, or not at all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Kept(NamedTuple, Generic[T]):
    """One event's part of an answer, as it was at `revision`."""

    revision: int
    part: T


class Known(NamedTuple, Generic[T]):
    """The parts of one answer, by the event's number in the database.

    `names` are the titles that stand in the parts: with other names nothing of it is known.
    """

    names: bytes
    events: Mapping[int, Kept[T]]

    def as_parameters(self) -> dict[str, str]:
        """Return ids and revisions as PostgreSQL writes arrays.

        As text, since psycopg would send lists of numbers under several types, and the server
        would prepare the statement for each of them.
        """
        return {
            "known_ids": _array(self.events),
            "known_revisions": _array(kept.revision for kept in self.events.values()),
        }


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


class Held(Generic[T]):
    """Parts by what was asked; beyond `most`, in the unit of their weights, the least recent go.

    Safe between threads: an answer is replaced whole, and of two that read at once both are right.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.weight = 0
        self._answers: OrderedDict[Hashable, tuple[Known[T], int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, asked: Hashable) -> Known[T]:
        """Return what is held of the answer; nothing where it was not asked yet, or forgotten."""
        with self._lock:
            found = self._answers.get(asked)
            if found is None:
                return Known(b"", {})
            self._answers.move_to_end(asked)
            return found[0]

    def keep(self, asked: Hashable, known: Known[T], weight: int) -> None:
        if not known.events:  # nothing to spare, and anybody can ask for what is not there
            return
        with self._lock:
            self.weight += weight - self._answers.pop(asked, (known, 0))[1]
            self._answers[asked] = (known, weight)
            while self.weight > self.most:
                self.weight -= self._answers.popitem(last=False)[1][1]

    def clear(self) -> None:
        with self._lock:
            self._answers.clear()
            self.weight = 0
