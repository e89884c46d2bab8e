from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.table import Table

from performance.caching.services import cache
from performance.core.units import format_age, format_bytes, format_ms, format_ratio

WATCH_EVERY_S = 2
CLEAR = "\x1b[H\x1b[2J"
WIDTH = 140


class Command(BaseCommand):
    help = "Show what every process's caches did in the last 15 minutes, and what fits them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument("--watch", action="store_true", help="again every 2 s, until Ctrl-C")

    def handle(self, *args: Any, watch: bool, **options: Any) -> None:
        try:
            while True:
                overview = cache.overview()
                if options["json"]:
                    self.stdout.write(json.dumps(overview))
                else:
                    self.stdout.write((CLEAR if watch else "") + _text(overview))
                self.stdout.flush()
                if not watch:
                    return
                time.sleep(WATCH_EVERY_S)
        except KeyboardInterrupt:
            return  # that is how watching ends


def _text(overview: dict[str, Any]) -> str:
    console = Console(width=WIDTH)
    with console.capture() as shown:
        console.print(_families(overview["families"]))
        for line in (*_server(overview["server"]), *_processes(overview["processes"])):
            console.print(line, highlight=False, markup=False)
        advised = [row for row in overview["families"] if row["advice"]["ttl_s"] is not None]
        if advised:
            console.print(_advice(advised))
        if overview["error"]:
            console.print(overview["error"], highlight=False, markup=False)
    return shown.get()


def _families(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "family", "reads", "hits", "memory", "store", "stale", "failed", "waited", "load p95",
        "saved", "oldest", "wrong", "pushed out", title="Last 15 minutes, all processes",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row["name"],
            str(row["reads"]),
            format_ratio(row["hit_ratio"]),
            format_ratio(row["memory_ratio"]),
            format_ratio(row["store_ratio"]),
            str(row["stale"] + row["fallback"]),
            str(row["failed"]),
            str(row["waited"]),
            format_ms(row["load_p95_ms"]),
            f"{row['saved_s']:.1f} s",
            format_age(row["oldest_s"]),
            format_ratio(row["audited_stale_ratio"]),
            str(row["evicted"]),
        )
    return table


def _advice(rows: list[dict[str, Any]]) -> Table:
    table = Table("family", "fresh for", "advised", "why", "evidence", title="Lifetimes advised")
    for row in rows:
        advice = row["advice"]
        table.add_row(
            row["name"],
            f"{row['ttl_s']:g} s",
            f"{advice['ttl_s']:g} s",
            advice["said"],
            advice["evidence"],
        )
    return table


def _server(server: dict[str, Any]) -> list[str]:
    if server["error"]:
        return [f"The cache server is away: {server['error']}"]
    limit = format_bytes(server["limit_bytes"]) if server["limit_bytes"] else "no limit"
    return [
        f"Store {server['version']}: {format_bytes(server['used_bytes'])} of {limit}, "
        f"{server['keys']} keys, {server['evicted']} evicted ({server['policy']})."
    ]


def _processes(processes: list[dict[str, Any]]) -> list[str]:
    return [
        f"{process['process']}: store {process['store']}, memory {process['memory']}, "
        f"push lag {format_ms(process.get('push_lag_ms'))}"
        for process in processes
    ]
