"""`manage.py feed`: run one source until it is stopped."""

from __future__ import annotations

import os
import signal
import threading
from argparse import ArgumentTypeError
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from odds import services
from odds.errors import FeedMisconfigured

KEY_VARIABLE = "THE_ODDS_API_KEY"


def at_least(minimum: float, kind: type[int] | type[float] = int) -> Any:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not value >= minimum or value == float("inf"):
            raise ArgumentTypeError(f"{text} is too small; it must be at least {minimum:g}")
        return value

    return parse


class Command(BaseCommand):
    help = "Take prices from one source into the database until stopped (Ctrl-C or SIGTERM)."
    requires_system_checks: list[str] = []  # it serves no pages: half a second less to each restart

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--source", required=True, choices=["simulate", "replay", "the-odds-api"])
        add("--batches", type=at_least(1), help="end after this many batches")
        add("--once", action="store_true", help="end after one batch of each sport or file")
        add(
            "--speed",
            type=at_least(0, float),
            default=1.0,
            help="simulate, replay: times real time; 0 does not wait",
        )
        add("--seed", type=at_least(0), default=1, help="simulate: another seed, another market")
        add("--events", type=at_least(1), default=200, help="simulate: how many matches")
        add("--bookmakers", type=at_least(1), default=12, help="simulate: 1 to 12")
        add("--changes-per-s", type=at_least(1), default=200, help="simulate: prices a second")
        add("--path", type=Path, help="replay: a folder of The Odds API's answers as JSON")
        add("--shift-to-now", action="store_true", help="replay: as if recorded now")
        add("--sport", action="append", default=[], help="the-odds-api: its key; may be repeated")

    def handle(self, *args: Any, batches: int | None, **options: Any) -> None:
        stop = threading.Event()

        def end(number: int, frame: FrameType | None) -> None:
            stop.set()

        previous = {
            number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            source = services.source(api_key=os.environ.get(KEY_VARIABLE, ""), **options)
            totals = services.run_feed(source, stop=stop, batches=batches)
        except FeedMisconfigured as error:
            raise CommandError(str(error)) from error
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        self.stdout.write(self.style.SUCCESS(f"{options['source']}: {totals.line()}"))
