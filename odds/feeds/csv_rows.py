"""The rows of a CSV file, one at a time, whatever its encoding; refused when it is none."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path

from odds.feeds.parsed import Refused

CHUNK_BYTES = 1 << 20


def encoding_of(path: Path) -> str:
    """Return the encoding, after reading the whole file once: UTF-8 unless a byte says otherwise.

    Raises Refused for binary data.
    """
    utf8 = codecs.getincrementaldecoder("utf-8-sig")()
    found = "utf-8-sig"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if b"\0" in chunk:
                raise Refused("binary data, not text")
            if found == "utf-8-sig":
                try:
                    utf8.decode(chunk)
                except UnicodeDecodeError:
                    found = "cp1252"
            if found == "cp1252" and chunk.translate(None, _NOT_IN_CP1252) != chunk:
                found = "latin-1"
    return found


_NOT_IN_CP1252 = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])


def rows_of(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, stripped cells). Raises Refused where the CSV itself is broken."""
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file)
        row = 0
        try:
            for row, cells in enumerate(reader, start=1):
                yield row, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise Refused(f"no CSV from line {row + 1} on: {error}") from error
