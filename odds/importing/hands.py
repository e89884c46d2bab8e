"""Who imports which file: this process, and for much to import a second one beside it."""

from __future__ import annotations

import gc
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from odds.importing.abreast import Tell, abreast
from odds.importing.beside import FROM_BYTES, Beside
from odds.importing.run import FileResult, Import, import_file

File = tuple[Path, str]
Work = Callable[[Import, File, Tell], FileResult]
Each = Callable[[Work], Iterator[FileResult]]


@contextmanager
def hands(files: Sequence[File], *, store: bool) -> Iterator[Each]:
    """Give a function that does its work on each file and yields the results in the files' order.

    The work is given the `import_file` to use. A dry run, and little to store, need one process.
    """
    with Beside() as beside, without_collector():
        free: queue.SimpleQueue[Import] = queue.SimpleQueue()
        free.put(import_file)
        several = store and len(files) > 1 and _bytes(files) >= FROM_BYTES
        if several:
            free.put(beside.import_file)

        def each(work: Work) -> Iterator[FileResult]:
            def one(file: File, tell: Tell) -> FileResult:
                hand = free.get()
                try:
                    return work(hand, file, tell)
                finally:
                    free.put(hand)
                    gc.collect()

            return abreast(one, files, at_once=2 if several else 1)

        yield each


def _bytes(files: Sequence[File]) -> int:
    return sum(path.stat().st_size for path, _ in files)


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python's collector of cycles out of batches, which have none: it took 3 us a price.

    Memory stays bounded: it is run by hand after each file, over what came since.
    """
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
