from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.core.units import format_bytes, format_ratio
from performance.queries import services
from performance.queries.errors import StatisticsMissing


class Command(BaseCommand):
    help = "Advise indexes that the planner proved useful, on a copy that is rolled back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, default=50, help="how many statements to look at")
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--migration", metavar="APP", help="print a migration for this app")

    def handle(self, *args: Any, limit: int, migration: str | None, **options: Any) -> None:
        labels = sorted(config.label for config in apps.get_app_configs())
        if migration and migration not in labels:
            raise CommandError(f"No app is called {migration!r}. There are: {', '.join(labels)}.")
        try:
            advices = services.optimizer.advise(limit)
        except StatisticsMissing as error:
            raise CommandError(str(error)) from error
        if migration:
            text = services.optimizer.migration(migration, advices)
            self.stdout.write(text or f"# Nothing to add: no index was proved for {migration}.")
        elif options["json"]:
            self.stdout.write(json.dumps([advice.as_dict() for advice in advices]))
        elif not advices:
            self.stdout.write("No index was proved to save enough; nothing to advise.")
        else:
            for advice in advices:
                self.stdout.write(_line(advice))


def _line(advice: services.Advice) -> str:
    slower = advice.write_slowdown_ratio
    price = "unmeasured" if slower is None else format_ratio(slower)
    return (
        f"{advice.definition}\n"
        f"    cost {advice.cost_before:.0f} to {advice.cost_after:.0f} "
        f"(-{format_ratio(advice.gain_ratio)}) by {advice.proved_by}; {advice.statements} "
        f"statements, {advice.calls} calls; {format_bytes(advice.size_bytes)}; an INSERT takes "
        f"{price} longer, {advice.writes} writes so far\n"
        f"    for {' '.join(advice.sql.split())[:100]}"
    )
