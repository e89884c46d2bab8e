"""A JSON file as lists of events, a few at a time, so that its size does not matter.

A list is read piece by piece. An object (one event, the historical envelope) is read whole and
may have `WHOLE_BYTES` at most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from odds.feeds.odds_api_shape import unwrap
from odds.feeds.parsed import Refused

CHUNK_CHARS = 1 << 18
EVENTS_A_PIECE = 100
WHOLE_BYTES = 64 << 20
"""Of an object or of one event; an answer of The Odds API has a thousandth of it."""

_DECODER = json.JSONDecoder(parse_float=Decimal)
_BLANK = " \t\r\n"


def events_of(path: Path) -> Iterator[list[Any]]:
    """Yield the events in pieces of `EVENTS_A_PIECE`. Raises Refused for what is no such JSON."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = _first_character(file)
            file.seek(0)
            if first == "[":
                yield from _pieces(file)
                return
            if path.stat().st_size > WHOLE_BYTES:
                raise Refused(
                    f"a JSON object above {WHOLE_BYTES >> 20} MB; save the list inside it alone"
                )
            yield unwrap(json.load(file, parse_float=Decimal))
    except UnicodeDecodeError as error:
        raise Refused(f"no JSON: not UTF-8 ({error.reason})") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise Refused(f"no JSON: {error}") from error


def _first_character(file: TextIO) -> str:
    while chunk := file.read(CHUNK_CHARS):
        if text := chunk.lstrip(_BLANK):
            return text[0]
    return ""


def _pieces(file: TextIO) -> Iterator[list[Any]]:
    piece: list[Any] = []
    for item in _items(file):
        piece.append(item)
        if len(piece) == EVENTS_A_PIECE:
            yield piece
            piece = []
    yield piece


def _items(file: TextIO) -> Iterator[Any]:
    text = file.read(CHUNK_CHARS)
    at = text.index("[") + 1
    wanted = CHUNK_CHARS
    expect_comma = False
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if at < len(text) and text[at] == "]":
            if text[at + 1 :].strip(_BLANK) or file.read().strip(_BLANK):
                raise Refused("no JSON: something stands behind the end of the list")
            return
        if at < len(text) and expect_comma:
            if text[at] != ",":
                raise Refused(f"no JSON: a comma is wanted before {text[at : at + 30]!r}")
            expect_comma, at = False, at + 1
            continue
        if at < len(text):
            try:
                item, end = _DECODER.raw_decode(text, at)
            except json.JSONDecodeError:
                end = len(text)  # cut off, or broken: more text will tell
            if end < len(text):
                yield item
                at, expect_comma, wanted = end, True, CHUNK_CHARS
                continue
        more = file.read(wanted)
        if not more:
            json.loads(text[at:] or "[")  # says what is wrong, and where
            raise Refused("no JSON: the list does not end")
        text, at, wanted = text[at:] + more, 0, wanted * 2
        if len(text) > WHOLE_BYTES:
            raise Refused(f"one event of it has more than {WHOLE_BYTES >> 20} MB")
