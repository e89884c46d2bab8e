from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from performance.caching import services
from performance.caching.services import Warmed, Warming, cache
from performance.core.errors import PerformanceError

ERRORS_SHOWN = 20


class Command(BaseCommand):
    help = "Fill the cache with what the next visitors will ask for."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--family", action="append", default=[], help="only this one; repeatable")
        what.add_argument("--tag", action="append", default=[], help="what carries it; repeatable")
        what.add_argument("--key", help='one value: board["soccer_epl"]')
        parser.add_argument("--limit", type=int, default=1000, help="at most this many a family")
        parser.add_argument("--concurrency", type=int, default=2, help="loaders at once")
        parser.add_argument("--dry-run", action="store_true", help="say what would be computed")

    def handle(
        self, *args: Any, limit: int, concurrency: int, dry_run: bool, **options: Any
    ) -> None:
        for name, value in (("--limit", limit), ("--concurrency", concurrency)):
            if value < 1:
                raise CommandError(f"{name} is {value}; it must be 1 or more.")
        tags, families, key = tuple(options["tag"]), tuple(options["family"]), options["key"] or ""
        try:
            target = services.Target(
                tags=tags,
                families=families,
                key=key,
                everything=not (tags or families or key),
            )
            if dry_run:
                self.stdout.write(services.foresee_warming(target, limit=limit))
                return
            plan = services.warming_plan(target, limit=limit)
        except PerformanceError as error:
            raise CommandError(str(error)) from None
        started = time.monotonic()
        failed = [outcome for outcome in self._warmed(plan, concurrency) if outcome.error]
        for outcome in failed[:ERRORS_SHOWN]:
            self.stderr.write(f"{outcome.key}: {outcome.error}")
        if failed:
            more = len(failed) - ERRORS_SHOWN
            raise CommandError(
                f"{len(failed)} of {len(plan)} values were not warmed (errors above"
                f"{f', and {more} more' if more > 0 else ''})."
            )
        elapsed_s = time.monotonic() - started
        self.stdout.write(self.style.SUCCESS(f"Warmed {len(plan)} values in {elapsed_s:.1f} s."))

    def _warmed(self, plan: list[Warming], concurrency: int) -> list[Warmed]:
        """Warm all, with a bar on the error stream: the output stays for who reads it."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeRemainingColumn(),
        )
        outcomes: list[Warmed] = []
        failed = 0
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("Warming", total=len(plan), failed=0)
            for outcome in cache.warm(plan, concurrency=concurrency, force=True):
                outcomes.append(outcome)
                failed += outcome.error is not None
                progress.update(task, advance=1, failed=failed)
        return outcomes
