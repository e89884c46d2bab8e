from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table

from performance.caching.services import cache
from performance.core.units import format_bytes, format_ms, format_ratio

WATCH_EVERY_S = 2


class Command(BaseCommand):
    help = "Show what every process's caches did in the last 15 minutes, family by family."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")
        parser.add_argument("--watch", action="store_true", help="again every 2 s, until Ctrl-C")

    def handle(self, *args: Any, watch: bool, **options: Any) -> None:
        while True:
            overview = cache.overview()
            if options["json"]:
                self.stdout.write(json.dumps(overview))
            else:
                self._show(overview)
            if not watch:
                return
            time.sleep(WATCH_EVERY_S)

    def _show(self, overview: dict[str, Any]) -> None:
        console = Console(width=120)
        table = Table("family", "reads", "hits", "memory", "stale", "failed", "load p95", "saved")
        for row in overview["families"]:
            table.add_row(
                row["name"],
                str(row["reads"]),
                format_ratio(row["hit_ratio"]),
                format_ratio(row["memory_ratio"]),
                str(row["stale"] + row["fallback"]),
                str(row["failed"]),
                format_ms(row["load_p95_ms"]),
                f"{row['saved_s']:.1f} s",
            )
        with console.capture() as shown:
            console.print(table)
        self.stdout.write(shown.get())
        server = overview["server"]
        if server["error"]:
            self.stdout.write(f"The cache server is away: {server['error']}")
        else:
            self.stdout.write(
                f"Store {server['version']}: {format_bytes(server['used_bytes'])} of "
                f"{format_bytes(server['limit_bytes'])}, {server['keys']} keys, "
                f"{server['evicted']} evicted ({server['policy']})."
            )
        for process in overview["processes"]:
            self.stdout.write(
                f"{process['process']}: store {process['store']}, memory {process['memory']}"
            )
        if overview["error"]:
            self.stdout.write(overview["error"])
