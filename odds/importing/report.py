"""The report of an import: an object a line for programs, a summary for people."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django.core.management.base import OutputWrapper

from odds.feeds.parsed import Skipped
from odds.importing.run import FileResult

SHOWN = 5
"""So many rows or cells of a file are shown to people; programs get every one."""
MOST_REASONS = 100


class JsonReport:
    """Write one object a file and line, with every row and cell that was not taken.

    It is written as it is found out, so a million bad cells are never held.
    """

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out
        self.first = True

    def begin(self, name: str) -> None:
        self.first = True
        self.out.write('{"skipped": [', ending="")

    def skip(self, skipped: Skipped) -> None:
        comma = "" if self.first else ", "
        self.first = False
        self.out.write(comma + json.dumps(skipped._asdict(), ensure_ascii=False), ending="")

    def end(self, result: FileResult) -> None:
        rest = json.dumps(result.as_dict(), ensure_ascii=False)
        self.out.write(f"], {rest[1:]}", ending="\n")

    def total(self, total: dict[str, Any]) -> None:
        self.out.write(json.dumps({"total": total}), ending="\n")


class TextReport:
    """Write a line a file, how often each reason came, and the first rows and cells."""

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out
        self.reasons: Counter[str] = Counter()
        self.shown: list[Skipped] = []

    def begin(self, name: str) -> None:
        self.reasons.clear()
        self.shown = []

    def skip(self, skipped: Skipped) -> None:
        known = skipped.reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[skipped.reason if known else "other reasons"] += 1
        if len(self.shown) < SHOWN:
            self.shown.append(skipped)

    def end(self, result: FileResult) -> None:
        if result.refused is not None:
            self.out.write(f"{result.file}: REFUSED, nothing of it was stored: {result.refused}")
            return
        self.out.write(
            f"{result.file}: {result.kind}, {result.rows} rows, {result.prices} prices read, "
            f"{result.stored} stored, {result.unchanged} as before, {result.late} older"
        )
        for reason, times in self.reasons.most_common():
            self.out.write(f"    {times} not taken: {reason}")
        for skipped in self.shown:
            cell = f" {skipped.column} {skipped.value!r}" if skipped.column else ""
            self.out.write(f"    row {skipped.row}{cell}: {skipped.reason}")
        if result.not_taken > len(self.shown):
            more = result.not_taken - len(self.shown)
            self.out.write(f"    and {more} more; --json lists every one")

    def total(self, total: dict[str, Any]) -> None:
        self.out.write(", ".join(f"{name}: {value}" for name, value in total.items()))
