"""Whether a whole file is what its header claims: one pass, before anything of it is stored."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from odds.feeds.csv_rows import encoding_of, rows_of
from odds.feeds.football_checks import RowCheck
from odds.feeds.football_columns import Layout, read_header
from odds.feeds.football_times import read_date
from odds.feeds.parsed import Refused

SHIFTED_ROWS = 3
SHIFTED_SHARE = 0.005
"""Rows that cannot be what the header says: from so many, and this share, the file is refused;
fewer are typing errors, and only those rows are left out."""
MOST_LEFT_OUT = 100_000
"""So many line numbers are remembered, whatever the file's length."""
UNDATED_SHARE = 0.2
SUMMER = timedelta(days=21)
"""No league plays for at least so long around the first of July, and then it is a new season.
(The season that the pandemic stretched into August 2020 played on through that day.)"""
LONGEST_SEASON = timedelta(days=400)


class Inspected(NamedTuple):
    encoding: str
    layout: Layout
    rows: int
    """Lines below the header that are not empty."""
    shifted: frozenset[int]
    """Lines whose cells cannot be what the header calls them: few, or the file is refused."""


def inspect(path: Path) -> Inspected:
    """Read the file through; raises Refused, with the reason, when it is not what it claims."""
    encoding = encoding_of(path)
    rows = rows_of(path, encoding)
    header = next((cells for _, cells in rows if any(cells)), [])
    if header and header[0].startswith("<"):
        raise Refused("an HTML page under the name of a CSV file")
    layout = read_header(header)
    seen = _Seen(layout)
    for row, cells in rows:
        if any(cells):
            seen.take(row, cells)
    seen.judge()
    return Inspected(encoding, layout, seen.rows, frozenset(seen.left_out))


class _Seen:
    """What the rows looked like."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.check = RowCheck(layout)
        self.rows = self.undated = self.shifted = self.first_shifted = self.width = 0
        self.dates: set[date] = set()
        self.left_out: set[int] = set()

    def take(self, row: int, cells: list[str]) -> None:
        self.rows += 1
        layout = self.layout
        if cells[0].startswith("<"):
            raise Refused(f"line {row} is HTML: {cells[0][:60]!r}")
        text = cells[layout.date] if layout.date < len(cells) else ""
        if text == layout.names[layout.date]:
            raise Refused(f"a header stands again in line {row}: several files in one")
        day = read_date(text)
        if day is None:
            self.undated += 1
        else:
            self.dates.add(day)
        looks_shifted = self.check.looks_shifted(cells)
        # Read back, a short row is filled up with empty cells, and judged as such.
        missing = layout.width - len(cells)
        if self.check.looks_shifted(cells + [""] * missing) if missing > 0 else looks_shifted:
            self._leave_out(row)
        if looks_shifted or self.check.has_prices_beyond(cells):
            if not self.shifted:
                self.first_shifted, self.width = row, len(cells)
            self.shifted += 1

    def _leave_out(self, row: int) -> None:
        self.left_out.add(row)
        if len(self.left_out) > MOST_LEFT_OUT:
            raise Refused(
                f"more than {MOST_LEFT_OUT} rows whose cells cannot be what the header calls them"
            )

    def judge(self) -> None:
        if self.undated > UNDATED_SHARE * self.rows:
            raise Refused(
                f"{self.undated} of its {self.rows} rows have no date like dd/mm/yy or dd/mm/yyyy"
            )
        if self.shifted >= max(SHIFTED_ROWS, SHIFTED_SHARE * self.rows):
            raise Refused(
                f"another layout under this header: {self.shifted} of {self.rows} rows, from line "
                f"{self.first_shifted} on, hold what their columns cannot hold ({self.width} cells "
                f"there, {len(self.layout.names)} in the header); odds would stand under wrong "
                "bookmakers"
            )
        if self.layout.country is None:  # the extra leagues' files hold all seasons by design
            self._refuse_seasons()

    def _refuse_seasons(self) -> None:
        days = sorted(self.dates)
        if days and days[-1] - days[0] > LONGEST_SEASON:
            raise Refused(
                f"several seasons under one header, or dates that a spreadsheet re-saved: "
                f"{days[0]} to {days[-1]} is longer than any season"
            )
        for before, after in pairwise(days):
            if after - before >= SUMMER and before <= date(after.year, 7, 1) <= after:
                raise Refused(
                    f"several seasons under one header: nothing was played from {before} to {after}"
                )
