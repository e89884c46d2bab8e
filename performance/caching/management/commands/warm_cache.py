from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import track

from performance.caching.services import UnknownFamily, cache


class Command(BaseCommand):
    help = "Fill the cache with what the next visitors will ask for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--family", action="append", default=[], help="only this one; repeatable"
        )
        parser.add_argument("--limit", type=int, default=1000, help="at most this many a family")
        parser.add_argument("--concurrency", type=int, default=2, help="loaders at once")

    def handle(
        self, *args: Any, family: list[str], limit: int, concurrency: int, **options: Any
    ) -> None:
        for name, value in (("--limit", limit), ("--concurrency", concurrency)):
            if value < 1:
                raise CommandError(f"{name} is {value}; it must be 1 or more.")
        try:
            plan = cache.warming_plan(*family, limit=limit)
        except UnknownFamily as error:
            raise CommandError(str(error)) from None
        started = time.monotonic()
        outcomes = track(
            cache.warm(plan, concurrency=concurrency, force=True),
            total=len(plan),
            description="Warming",
            console=Console(stderr=True),
        )
        failed = [outcome for outcome in outcomes if outcome.error]
        for outcome in failed:
            self.stderr.write(f"{outcome.key}: {outcome.error}")
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(plan)} values were not warmed (errors above)."
            )
        elapsed_s = time.monotonic() - started
        self.stdout.write(self.style.SUCCESS(f"Warmed {len(plan)} values in {elapsed_s:.1f} s."))
