"""Several files at once, told in their order.

One file's import waits for PostgreSQL about half of its time; two abreast keep both cores at work.
What a file has to tell is held until its turn, so that the report reads as if files came one by
one; beyond MOST_HELD of it the file waits for its turn, so that memory is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

F = TypeVar("F")
R = TypeVar("R")
MOST_HELD = 10_000
"""Tellings of one file that wait for their turn."""

Tell = Callable[[Callable[..., Any], Any], None]
"""`tell(act, value)`: do `act(value)` when it is the file's turn."""


class _Turns:
    def __init__(self) -> None:
        self.now = 0
        self.failed = False
        self.changed = threading.Condition()

    def wait_for(self, turn: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.now == turn or self.failed)

    def end(self, *, failed: bool) -> None:
        with self.changed:
            self.now += 1
            self.failed |= failed
            self.changed.notify_all()


def abreast(work: Callable[[F, Tell], R], files: Sequence[F], *, at_once: int) -> Iterator[R]:
    """Yield `work(file, tell)` of each file in order; an error ends all after the files under way.

    The work runs in threads with database connections of their own, closed at the end of a file.
    """
    turns = _Turns()

    def one(turn: int, file: F) -> R:
        held: list[tuple[Callable[..., Any], Any]] = []

        def tell(act: Callable[..., Any], value: Any) -> None:
            if turns.now != turn and len(held) < MOST_HELD:
                held.append((act, value))
                return
            turns.wait_for(turn)
            let_go()
            act(value)

        def let_go() -> None:
            for act, value in held:
                act(value)
            held.clear()

        failed = True
        try:
            result = work(file, tell)
            turns.wait_for(turn)
            let_go()
            failed = False
            return result
        finally:
            turns.wait_for(turn)
            turns.end(failed=failed)
            connections.close_all()

    with ThreadPoolExecutor(at_once, thread_name_prefix="import") as pool:
        for future in [pool.submit(one, turn, file) for turn, file in enumerate(files)]:
            try:
                yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
