"""Work ahead of the reader in a thread, a bounded number of steps.

Parsing needs Python, storing waits for PostgreSQL: side by side they use both cores.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterator[T], *, depth: int = 2) -> Iterator[T]:
    """Yield `items`, which run in a thread at most `depth` ahead; their error is raised here.

    `items` must not use the database: the connection is another thread's.
    """
    return _Ahead(items, depth).read()


class _Ahead(Generic[T]):
    def __init__(self, items: Iterator[T], depth: int) -> None:
        self.items = items
        self.ready: queue.Queue[T | _End] = queue.Queue(depth)
        self.stopped = threading.Event()

    def read(self) -> Iterator[T]:
        thread = threading.Thread(target=self.work, name="import-ahead", daemon=True)
        thread.start()
        try:
            while True:
                item = self.ready.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                yield item
        finally:
            self.stopped.set()
            thread.join()

    def work(self) -> None:
        error: BaseException | None = None
        try:
            for item in self.items:
                if not self.put(item):
                    return
        except BaseException as raised:  # noqa: BLE001 - the reader raises it, whatever it is
            error = raised
        self.put(_End(error))

    def put(self, item: T | _End) -> bool:
        while not self.stopped.is_set():
            try:
                self.ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
