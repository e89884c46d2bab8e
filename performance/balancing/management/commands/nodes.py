from __future__ import annotations

import json
import time
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.units import format_bytes, format_ms, format_ratio


class Command(BaseCommand):
    help = "Show every node: its state, its load, and how fast it answers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument(
            "--watch",
            nargs="?",
            type=float,
            const=1.0,
            metavar="SECONDS",
            help="show them again every second, or so many, until Ctrl-C",
        )

    def handle(self, *args: Any, watch: float | None, **options: Any) -> None:
        if watch is not None and watch <= 0:
            raise CommandError(f"--watch is {watch}; it must be a number of seconds above 0.")
        while True:
            self._show(**options)
            if watch is None:
                return
            try:
                time.sleep(watch)
            except KeyboardInterrupt:
                return
            if not options["json"] and self.stdout.isatty():
                self.stdout.write("\033[H\033[2J", ending="")  # to the top of an empty screen

    def _show(self, **options: Any) -> None:
        try:
            nodes = services.nodes()
        except redis.RedisError as error:
            raise CommandError(f"The registry (REDIS_URL) does not answer: {error}") from error
        if options["json"]:
            for node in nodes:
                self.stdout.write(json.dumps(node))
            return
        if not nodes:
            self.stdout.write("No node has announced itself. `manage.py up` starts them.")
            return
        head = ("node", "kind", "state", "address", "load", "cpu", "memory", "latency", "build")
        rows = [head, *(_row(node) for node in nodes)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    sessions = node.get("sessions")
    return (
        node["id"],
        node["kind"],
        "draining" if node["draining"] else node["state"],
        node["address"],
        f"{'–' if sessions is None else sessions}/{node['slots']}",
        format_ratio(node["cpu_ratio"]),
        format_bytes(node["memory_bytes"] or None),
        format_ms(node.get("latency_ms")),
        node["build"] or "–",
    )
