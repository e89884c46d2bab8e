"""A second process that imports files beside this one, as one interpreter keeps one core at work.

It takes a task a line on stdin and answers in lines of JSON on stdout: what it found, what it did
not take, and the file's result. It ends when its stdin does, so that it outlives nobody: killed
in the middle of a file, or left alone, what it stored is whole batches, and the next import
completes them.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import msgspec
from django.db import connection

from odds.errors import ImportStopped
from odds.feeds.parsed import Skipped
from odds.importing.run import FileResult, Options, import_file

T = TypeVar("T")
FROM_BYTES = 4 << 20
"""So much to read makes up for the start of the process, which takes about a second of a core."""
PROGRAM = """
import django
django.setup()
from odds.importing import beside
beside.main()
"""


class Task(msgspec.Struct, frozen=True):
    database: str
    path: str
    name: str
    arbitrages: bool


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer; just one of its fields is given."""

    skipped: Skipped | None = None
    found: dict[str, Any] | None = None
    result: FileResult | None = None
    error: str | None = None


class Beside:
    """The second process; `import_file` is that of `odds.importing.run`, done over there.

    For one thread at a time. Started at the first file, ended by `with`.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is None:
            return
        if kind is not None:
            self.process.terminate()
        self.process.communicate()  # closes its stdin, which ends it, and waits

    def import_file(self, path: Path, name: str, options: Options) -> FileResult:
        """Import one file. Raises ImportStopped when the process fails or is killed."""
        stdin, stdout = self._pipes()
        database = str(connection.settings_dict["NAME"])
        task = Task(database, str(path.absolute()), name, options.found is not None)
        try:
            _write(stdin, task)
        except BrokenPipeError:
            raise ImportStopped(name, "the second process had ended") from None
        for said in _lines(stdout, Said):
            if said.skipped is not None:
                options.skip(said.skipped)
            elif said.found is not None and options.found is not None:
                options.found(said.found)
            elif said.result is not None:
                return said.result
            elif said.error is not None:
                raise ImportStopped(name, said.error)
        raise ImportStopped(name, "the second process ended in the middle of it")

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                cwd=Path(__file__).resolve().parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout


def _lines(stream: Iterable[bytes], kind: type[T]) -> Iterator[T]:
    """Yield each line of `stream` as a `kind`."""
    decoder = msgspec.json.Decoder(kind)
    for line in stream:
        yield decoder.decode(line)


def _write(stream: IO[bytes], message: msgspec.Struct) -> None:
    stream.write(msgspec.json.encode(message) + b"\n")
    stream.flush()


def work(tasks: Iterable[bytes], answers: IO[bytes]) -> None:
    """Import what `tasks` name, until they end."""
    encode = msgspec.json.encode

    def say(said: Said) -> None:
        answers.write(encode(said) + b"\n")

    for task in _lines(tasks, Task):
        connection.settings_dict["NAME"] = task.database
        options = Options(
            found=(lambda line: say(Said(found=line))) if task.arbitrages else None,
            skip=lambda skipped: say(Said(skipped=skipped)),
        )
        try:
            result = import_file(Path(task.path), task.name, options)
        except Exception as error:  # noqa: BLE001 - the other process raises it
            say(Said(error=f"{type(error).__name__}: {error}"))
        else:
            say(Said(result=result))
        answers.flush()
        gc.collect()


def main() -> None:
    """Take tasks from stdin; nothing but answers goes to the real stdout."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    gc.freeze()
    gc.disable()  # as in `hands`
    try:
        work(sys.stdin.buffer, answers)
        answers.close()
    except BrokenPipeError:
        sys.exit("import_odds ended before this second process of it did")
