"""`manage.py import_odds`: real odds from files into the database."""

from __future__ import annotations

import json
import sys
import time
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from odds.errors import ImportStopped
from odds.importing.abreast import Tell
from odds.importing.hands import hands
from odds.importing.report import JsonReport, TextReport
from odds.importing.run import FileResult, Import, Options, files_in

ABOUT = """Import football-data.co.uk CSV and The Odds API v4 JSON, told apart by content.

A file that is not what it claims is refused whole: nothing of it is stored, the others go on, and
the exit code is 1. Importing a file again changes nothing. Inside a folder, files that end in .csv
or .json are looked at.

--json              one object a file, with every row and cell that was not taken
--arbitrage         also show the arbitrages inside the files
--arbitrage --json  stdout has one object an arbitrage and nothing else; the report is on stderr
--dry-run           read and judge, store nothing; no database is needed
"""


class Command(BaseCommand):
    help = ABOUT
    requires_system_checks: list[str] = []  # a dry run needs no database

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder")
        parser.add_argument("--dry-run", action="store_true", help="store nothing")
        parser.add_argument("--arbitrage", action="store_true", help="show arbitrages in the files")
        parser.add_argument("--json", action="store_true", help="objects instead of text")

    def handle(
        self, *args: Any, paths: list[Path], dry_run: bool, arbitrage: bool, **options: Any
    ) -> None:
        as_json: bool = options["json"]
        out = self.stderr if arbitrage and as_json else self.stdout
        out.style_func = None  # the report is no error, even where it goes to stderr
        report = JsonReport(out) if as_json else TextReport(out)
        found = (self._show_json if as_json else self._show_text) if arbitrage else None

        def work(import_file: Import, file: tuple[Path, str], tell: Tell) -> FileResult:
            path, name = file
            tell(report.begin, name)
            settings = Options(
                store=not dry_run,
                found=found and (lambda line: tell(found, line)),
                skip=lambda skipped: tell(report.skip, skipped),
            )
            result = import_file(path, name, settings)
            tell(report.end, result)
            return result

        files = [file for path in paths for file in files_in(self._existing(path))]
        started = time.monotonic()
        results = []
        with _progress() as progress, hands(files, store=not dry_run) as each:
            task = progress.add_task("import", total=len(files), file="")
            try:
                for result in each(work):
                    results.append(result)
                    progress.update(task, advance=1, file=result.file)
            except ImportStopped as error:
                raise CommandError(str(error)) from error
        total = _total(results, time.monotonic() - started)
        report.total(total)
        if total["refused"]:
            raise CommandError(
                f"{total['refused']} of {len(files)} files were refused, with their reasons above; "
                "nothing of them was stored. The others were imported."
            )

    def _existing(self, path: Path) -> Path:
        if not path.exists():
            raise CommandError(f"There is no {path}; give files or folders that exist.")
        return path

    def _show_json(self, line: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(line, ensure_ascii=False))

    def _show_text(self, line: dict[str, Any]) -> None:
        legs = ", ".join(
            f"{leg['outcome']} {leg['price']:g} at {'/'.join(leg['bookmakers'])} "
            f"({leg['stake_pct']:.2f} %)"
            for leg in line["legs"]
        )
        marks = "".join(
            f" [{mark}]"
            for mark in ("needs an exchange" if line["needs_exchange"] else "", line["suspect"])
            if mark
        )
        at = "" if line["line"] is None else f" {line['line']:g}"
        self.stdout.write(
            f"{line['file']}:{line['row']} {line['market']}{at} {line['phase']} "
            f"+{line['roi_pct']:.3f} %: {legs}{marks}"
        )


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[file]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not sys.stderr.isatty(),
    )


def _total(results: list[FileResult], elapsed_s: float) -> dict[str, Any]:
    prices = sum(result.prices for result in results)
    return {
        "files": len(results),
        "refused": sum(1 for result in results if result.refused is not None),
        "rows": sum(result.rows for result in results),
        "prices": prices,
        "stored": sum(result.stored for result in results),
        "not_taken": sum(result.not_taken for result in results),
        "seconds": round(elapsed_s, 1),
        "prices_per_s": round(prices / elapsed_s) if elapsed_s > 0 else 0,
    }
