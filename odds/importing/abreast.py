"""Several files at once, told in their order.

One file's import waits for PostgreSQL about half of its time; two abreast keep both cores at work.
What a file has to tell is held until its turn, so that the report reads as if files came one by
one; beyond MOST_HELD of it a file waits for its turn, so that memory is bounded.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.db import connections

F = TypeVar("F")
R = TypeVar("R")
MOST_HELD = 10_000
"""Tellings of all files that wait for their turn."""

Tell = Callable[[Callable[..., Any], Any], None]
"""`tell(act, value)`: do `act(value)` when it is the file's turn."""


class _Turns:
    """Whose turn it is to tell, and what those hold who came too early."""

    def __init__(self) -> None:
        self.now = 0
        self.failed = False
        self.held: dict[int, list[tuple[Callable[..., Any], Any]]] = defaultdict(list)
        self.ended: dict[int, bool] = {}
        """Files that are through: whether they failed."""
        self.changed = threading.Condition()

    def tell(self, turn: int, act: Callable[..., Any], value: Any) -> None:
        """Do it when it is the file's turn: now, later, or after waiting when too much is held."""
        with self.changed:
            if turn != self.now and sum(map(len, self.held.values())) < MOST_HELD:
                self.held[turn].append((act, value))
                return
            self.changed.wait_for(lambda: self.now == turn or self.failed)
            self._let_go(turn)
            act(value)

    def end(self, turn: int, *, failed: bool) -> None:
        """The file is through. Nobody waits here: who came too early is told by those before."""
        with self.changed:
            self.ended[turn] = failed
            try:
                while self.now in self.ended:
                    self._let_go(self.now)
                    self.failed |= self.ended.pop(self.now)
                    self.now += 1
            except BaseException:  # telling failed: nobody may wait for a turn that never comes
                self.failed = True
                raise
            finally:
                self.changed.notify_all()

    def _let_go(self, turn: int) -> None:
        for act, value in self.held.pop(turn, ()):
            act(value)


def abreast(work: Callable[[F, Tell], R], files: Sequence[F], *, at_once: int) -> Iterator[R]:
    """Yield `work(file, tell)` of each file in order; an error ends all after the files under way.

    The work runs in threads with database connections of their own, closed at the end of a file.
    A file that is through makes room for the next, whether or not it was its turn.
    """
    turns = _Turns()

    def one(turn: int, file: F) -> R:
        failed = True
        try:
            result = work(file, partial(turns.tell, turn))
            failed = False
            return result
        finally:
            turns.end(turn, failed=failed)
            connections.close_all()

    with ThreadPoolExecutor(at_once, thread_name_prefix="import") as pool:
        for future in [pool.submit(one, turn, file) for turn, file in enumerate(files)]:
            try:
                yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
