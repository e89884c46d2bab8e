"""Read football-data.co.uk's CSV: its leagues of every season, its extra leagues, its fixtures.

No network, no database, and one row in memory at a time. `open_file` goes through the whole file
first and refuses it when it is not what its header claims; only then `matches` gives its prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from odds.feeds.csv_rows import rows_of
from odds.feeds.football_columns import Layout, PriceColumn
from odds.feeds.football_inspect import inspect
from odds.feeds.football_leagues import league_of
from odds.feeds.football_times import kick_off, midnight, opening_time, read_date
from odds.feeds.parsed import POINT_LIMIT, PRICE_LIMIT, PRICE_STEP, Skipped
from odds.quotes import Batch, EventInfo, Quote, event_key

SOURCE = "football-data"
LONGEST_NAME = 120
BATCH_QUOTES = 20_000

Skip = Callable[[Skipped], None]


class Cell(NamedTuple):
    column: PriceColumn
    exact: Decimal
    """As it stands in the file."""
    price: Decimal
    """As it is stored: six places, rounded down."""
    point: Decimal | None
    """From this outcome's own side."""


class Match(NamedTuple):
    row: int
    """The line in the file, the header being 1."""
    event: EventInfo
    opened: datetime
    """When its opening prices were taken, in UTC."""
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class FootballFile:
    """A file that was found to be what it claims."""

    path: Path
    encoding: str
    layout: Layout
    rows: int
    """Lines below the header that are not empty."""
    shifted: frozenset[int]
    """Lines whose cells cannot be what the header calls them."""

    def matches(self, skip: Skip) -> Iterator[Match]:
        """Yield each match with its prices; `skip` is told of all that is not taken."""
        for index, name, reason in self.layout.not_read:
            skip(Skipped(1, name, f"column {index + 1}", reason))
        read = _RowReader(self.layout, self.shifted, skip)
        rows = rows_of(self.path, self.encoding)
        for _, cells in rows:
            if any(cells):  # the header
                break
        for row, cells in rows:
            match = read.match(row, cells)
            if match is not None:
                yield match


def open_file(path: Path) -> FootballFile:
    """Inspect the whole file. Raises Refused, with the reason, when it is not what it claims."""
    found = inspect(path)
    return FootballFile(path, found.encoding, found.layout, found.rows, found.shifted)


def batches(matches: Iterable[Match], *, size: int = BATCH_QUOTES) -> Iterator[Batch]:
    """Yield the quotes, about `size` a batch: of each price the opening one before the closing.

    In that order ingest writes both into history and the closing one as the current price, in one
    go; and it ignores what is older than what it knows, so importing again changes nothing. A
    match that stands twice in the file comes in two batches.
    """
    events: dict[str, EventInfo] = {}
    bookmakers: dict[str, str] = {}
    opened: list[Quote] = []
    closed: list[Quote] = []
    for match in matches:
        if match.event.key in events or len(opened) + len(closed) >= size:
            yield _batch(events, bookmakers, opened + closed)
            events, bookmakers, opened, closed = {}, {}, [], []
        events[match.event.key] = match.event
        for cell in match.cells:
            column = cell.column
            bookmakers[column.bookmaker] = column.title
            (opened if column.phase == "open" else closed).append(_quote(match, cell))
    if events:
        yield _batch(events, bookmakers, opened + closed)


def _batch(events: dict[str, EventInfo], bookmakers: dict[str, str], quotes: list[Quote]) -> Batch:
    return Batch(source=SOURCE, events=list(events.values()), bookmakers=bookmakers, quotes=quotes)


def _quote(match: Match, cell: Cell) -> Quote:
    column, event = cell.column, match.event
    name = column.outcome
    if name in ("H", "Home"):
        name = event.home_team or ""
    elif name in ("A", "Away"):
        name = event.away_team or ""
    return Quote(
        event_key=event.key,
        bookmaker_key=column.bookmaker,
        market=column.market,
        outcome=name,
        point=cell.point,
        price=cell.price,
        last_update=match.opened if column.phase == "open" else event.commence_time,
    )


class _RowReader:
    def __init__(self, layout: Layout, shifted: frozenset[int], skip: Skip) -> None:
        self.layout = layout
        self.shifted = shifted
        self.skip = skip

    def match(self, row: int, cells: list[str]) -> Match | None:
        if not any(cells):
            self.skip(Skipped(row, "", "", "empty row"))
            return None
        width = len(cells)
        if width < self.layout.width:
            cells = cells + [""] * (self.layout.width - width)
        found = self._event(row, cells)
        if found is None:
            return None
        if row in self.shifted:
            self.skip(Skipped(row, "", "", "its cells cannot be what the header calls them"))
            return None
        self._report_width(row, cells, width)
        day, event = found
        opened = opening_time(day, event.commence_time)
        return Match(row, event, opened, self._cells(row, cells))

    def _report_width(self, row: int, cells: list[str], width: int) -> None:
        layout = self.layout
        if width < layout.width:
            reason = f"the row has {width} cells, {layout.width - width} fewer than the header"
            self.skip(Skipped(row, layout.names[width], "", f"missing from here on: {reason}"))
        for index in range(layout.width, width):
            if cells[index]:
                reason = f"cell {index + 1} stands beyond the header's {layout.width} columns"
                self.skip(Skipped(row, "", cells[index][:80], reason))

    def _event(self, row: int, cells: list[str]) -> tuple[date, EventInfo] | None:
        layout = self.layout
        home, away, league = cells[layout.home], cells[layout.away], cells[layout.league]
        for index, name in ((layout.home, home), (layout.away, away), (layout.league, league)):
            if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
                reason = f"no row without it; a name of 1 to {LONGEST_NAME} characters is wanted"
                self.skip(Skipped(row, layout.names[index], name[:80], reason))
                return None
        day = read_date(cells[layout.date])
        if day is None:
            reason = "no date like dd/mm/yy or dd/mm/yyyy"
            self.skip(Skipped(row, "Date", cells[layout.date][:80], reason))
            return None
        starts = None
        if layout.time is not None and cells[layout.time]:
            starts = kick_off(day, cells[layout.time])
            if starts is None:
                reason = "no time like 20:00; the day alone was taken"
                self.skip(Skipped(row, "Time", cells[layout.time][:80], reason))
        country = None if layout.country is None else cells[layout.country]
        sport, title = league_of(country, league)
        return day, EventInfo(
            key=event_key(sport, day, home, away),
            sport_key=sport,
            sport_title=title,
            commence_time=starts or midnight(day),
            home_team=home,
            away_team=away,
            date_only=starts is None,
        )

    def _cells(self, row: int, cells: list[str]) -> list[Cell]:
        taken = []
        for column in self.layout.prices:
            text = cells[column.cell]
            if not text:
                continue
            read = _price(text)
            if read is None:
                reason = "a price is a number above 1"
                self.skip(Skipped(row, column.name, text[:80], reason))
                continue
            point = None
            if column.market == "totals":
                point = _GOALS
            elif column.line is not None:
                point = _point(cells[column.line], column.outcome == "Away")
                if point is None:
                    line = self.layout.names[column.line]
                    reason = f"no line for it: {line} is {cells[column.line][:40]!r}"
                    self.skip(Skipped(row, column.name, text[:80], reason))
                    continue
            taken.append(Cell(column, read[0], read[1], point))
        return taken


_GOALS = Decimal("2.5")


@lru_cache(maxsize=1 << 16)
def _price(text: str) -> tuple[Decimal, Decimal] | None:
    """Return the price exactly and as it is stored; None when it is no price."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return None
    if not exact.is_finite() or not 1 < exact < PRICE_LIMIT:
        return None
    price = exact.quantize(PRICE_STEP, ROUND_DOWN)
    return (exact, price) if price > 1 else None


@lru_cache(maxsize=1 << 10)
def _point(text: str, is_away: bool) -> Decimal | None:
    try:
        line = Decimal(text)
    except InvalidOperation:
        return None
    if not line.is_finite() or abs(line) >= POINT_LIMIT or line * 1000 % 1:
        return None
    return (-line if is_away else line) + 0  # + 0: no minus zero
