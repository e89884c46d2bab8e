"""Import one file: tell what it is, refuse it whole or store its prices, account for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odds import services
from odds.feeds.football_data import FootballFile, Match, batches, open_file
from odds.feeds.json_stream import events_of
from odds.feeds.odds_api_json import parse_list
from odds.feeds.odds_api_shape import Evidence
from odds.feeds.parsed import Refused, Skipped
from odds.importing.ahead import ahead
from odds.importing.found import in_events, in_match
from odds.quotes import Batch

FOOTBALL, ODDS_API = "football-data", "the-odds-api"
SUFFIXES = (".csv", ".json")
"""What is looked at inside a folder; a file that is named itself may have any name."""

Found = Callable[[dict[str, Any]], None]
Skip = Callable[[Skipped], None]


@dataclass(slots=True)
class FileResult:
    """What became of one file. Prices count as read; the others say what ingest did with them."""

    file: str
    kind: str = ""
    """`football-data` or `the-odds-api`, told from the content; empty when refused."""
    rows: int = 0
    """Lines below the header that are not empty; JSON: events."""
    prices: int = 0
    stored: int = 0
    """New or different from what was known."""
    unchanged: int = 0
    late: int = 0
    """Older than what is stored, so left as it is: so it is when a file is imported again."""
    not_taken: int = 0
    """Rows and cells that were skipped; each was reported."""
    refused: str | None = None
    """Why nothing of the file was taken."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    store: bool = True
    """False is a dry run: no database is needed."""
    found: Found | None = None
    """Told of every arbitrage inside the file, as a plain object."""
    skip: Skip = lambda skipped: None
    """Told of every row or cell that is not taken."""


Import = Callable[[Path, str, Options], FileResult]
"""`import_file`, here or in another process."""


def files_in(path: Path) -> list[tuple[Path, str]]:
    """Return (file, name to report): a file as it was given, a folder's relative to the folder."""
    if path.is_dir():
        return [
            (file, file.relative_to(path).as_posix())
            for file in sorted(path.rglob("*"))
            if file.is_file()
            and file.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
    return [(path, path.as_posix())]


def import_file(path: Path, name: str, options: Options) -> FileResult:
    """Import one file; a refused one is a result, not an exception, and nothing of it is stored.

    Memory is bounded: the file is read twice, once to judge it and once to take it, and never
    held. Raises django.db.Error when the database fails; a run after that completes the rest.
    """
    result = FileResult(name)

    def skip(skipped: Skipped) -> None:
        result.not_taken += 1
        options.skip(skipped)

    try:
        if _is_json(path):
            _import_events(path, result, options, skip)
        else:
            _import_football(open_file(path), result, options, skip)
    except Refused as refusal:
        result.refused = refusal.reason
    except OSError as error:
        result.refused = f"it cannot be read: {error.strerror or error}"
    return result


def _is_json(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")


def _import_football(
    football: FootballFile, result: FileResult, options: Options, skip: Skip
) -> None:
    result.kind, result.rows = FOOTBALL, football.rows

    def matches() -> Iterator[Match]:
        for match in football.matches(skip):
            if options.found is not None:
                for line in in_match(result.file, match):
                    options.found(line)
            yield match

    _take(batches(matches()), result, options, skip)


def _import_events(path: Path, result: FileResult, options: Options, skip: Skip) -> None:
    evidence = Evidence()
    for piece in events_of(path):
        evidence.add(piece)
    american = evidence.judge()
    result.kind, result.rows = ODDS_API, evidence.items

    def parsed() -> Iterator[Batch]:
        row = 0
        for piece in events_of(path):
            some = parse_list(piece, american=american, first_row=row)
            row += len(piece)
            for skipped in some.skipped:
                skip(skipped)
            if options.found is not None:
                for line in in_events(result.file, some):
                    options.found(line)
            yield some.batch

    _take(parsed(), result, options, skip)


def _take(read: Iterator[Batch], result: FileResult, options: Options, skip: Skip) -> None:
    if not options.store:
        for batch in read:
            result.prices += len(batch.quotes)
        return
    for batch in ahead(read):
        result.prices += len(batch.quotes)
        report = services.ingest(batch)
        result.stored += report.inserted + report.changed
        result.unchanged += report.unchanged
        result.late += report.late
        for quote, reason in report.refused:
            column = f"{quote.bookmaker_key}.{quote.market}.{quote.outcome}"
            skip(Skipped(0, column, str(quote.price), reason))
