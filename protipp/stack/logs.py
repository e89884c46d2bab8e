"""One stream for all: each line with its process, to the terminal and to a bounded file."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TextIO

WIDTH = 12
LONGEST_LINE = 8_192  # bytes; what is longer is cut
LARGEST_FILE_BYTES = 10 * 1024 * 1024
MOST_WAITING = 10_000
COLOURS = (36, 32, 35, 34, 33, 96, 92, 95, 94, 93)
RED = 31
CONTROLS = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours of the processes' own, and what a visitor's text could do to a terminal."""


class Stream:
    """Where all lines go. A terminal that stands still (Ctrl-S) stops nobody: lines are dropped."""

    def __init__(self, file: Path, terminal: TextIO = sys.stdout) -> None:
        self._file = file
        self._terminal: TextIO | None = terminal
        self._coloured = terminal.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, int] = {}
        self._waiting: queue.Queue[tuple[str, str, int] | None] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def line(self, name: str, text: str, colour: int = 0) -> None:
        """Take one line of a process; never waits."""
        try:
            self._waiting.put_nowait((name, text, colour))
        except queue.Full:
            self._dropped += 1

    def say(self, text: str, *, bad: bool = False) -> None:
        """Say something of our own."""
        self.line("up", text, RED if bad else 0)

    def block(self, lines: list[str]) -> None:
        """Show lines on the terminal alone, without a name: they may hold a password."""
        for text in lines:
            self.line("", text)

    def close(self, within_s: float = 1.0) -> None:
        """Write what waits, for at most `within_s`."""
        self._waiting.put(None)
        self._writer.join(within_s)

    def _write(self) -> None:
        with self._open() as file:
            while (item := self._waiting.get()) is not None:
                name, text, colour = item
                if name:
                    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    file.write(f"{now} {name:<{WIDTH}} | {text}\n")
                self._show(name, text, colour)
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    self._show("up", f"{dropped} lines were dropped here: too many at once", RED)
                if file.tell() > LARGEST_FILE_BYTES:
                    file.close()
                    file = self._open()
                elif self._waiting.empty():
                    file.flush()

    def _open(self) -> TextIO:
        if self._file.exists() and self._file.stat().st_size > LARGEST_FILE_BYTES:
            self._file.replace(self._file.with_name(f"{self._file.name}.1"))
        return self._file.open("a", encoding="utf-8")

    def _show(self, name: str, text: str, colour: int) -> None:
        if self._terminal is None:
            return
        try:
            self._terminal.write(self._painted(name, text, colour) + "\n")
            if self._waiting.empty():
                self._terminal.flush()
        except (BrokenPipeError, ValueError):
            self._terminal = None  # whoever read us left; the file goes on

    def _painted(self, name: str, text: str, colour: int) -> str:
        if not name:
            return text
        if not self._coloured:
            return f"{name:<{WIDTH}} | {text}"
        own = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        painted = f"\033[{colour}m{text}\033[0m" if colour else text
        return f"\033[{own}m{name:<{WIDTH}} |\033[0m {painted}"


class Lines(asyncio.Protocol):
    """Cuts what one process writes into lines; keeps the last few for error messages."""

    def __init__(
        self, name: str, stream: Stream, waiting_for: str = "", drop: str = r"(?!)"
    ) -> None:
        self._name = name
        self._stream = stream
        self._drop = re.compile(drop)
        self._waiting_for = waiting_for
        self._rest = b""
        self.last: deque[str] = deque(maxlen=2)
        self.seen = asyncio.Event()
        """Set once a line held `waiting_for`."""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > LONGEST_LINE:
            self._take(self._rest)
            self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._take(self._rest)
        self.ended.set()

    def last_words(self) -> str:
        return " | ".join(self.last)

    def _take(self, line: bytes) -> None:
        text = CONTROLS.sub("", line[:LONGEST_LINE].decode(errors="replace"))
        text = self._drop.sub("", text).rstrip()
        if not text:
            return
        self.last.append(text)
        self._stream.line(self._name, text)
        if self._waiting_for and self._waiting_for in text:
            self.seen.set()
