from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.core.units import format_ms
from performance.queries import services
from performance.queries.errors import StatisticsMissing


class Command(BaseCommand):
    help = "Show what the database spends its time on, by its own statistics."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sort", choices=services.SORTS, default="total")
        parser.add_argument("--limit", type=int, default=20)
        parser.add_argument("--min-calls", type=int, default=1)
        parser.add_argument("--min-mean-ms", type=float, default=0.0)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("sort", "limit", "min_calls", "min_mean_ms")
        try:
            found = services.optimizer.slowest(**{name: options[name] for name in names})
        except StatisticsMissing as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps([one.as_dict() for one in found]))
            return
        self.stdout.write(f"{'total':>10} {'mean':>10} {'max':>10} {'calls':>9}  statement")
        for one in found:
            times = (format_ms(one.total_ms), format_ms(one.mean_ms), format_ms(one.max_ms))
            total, mean, longest = times
            sql = " ".join(one.sql.split())
            self.stdout.write(f"{total:>10} {mean:>10} {longest:>10} {one.calls:>9}  {sql[:100]}")
