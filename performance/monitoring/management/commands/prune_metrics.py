from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from performance.monitoring import services


class Command(BaseCommand):
    help = "Drop the partitions of metrics and samples that are older than the settings keep."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the dropped names as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        dropped = services.monitor.prune()
        if options["json"]:
            self.stdout.write(json.dumps({"dropped": dropped}))
            return
        for name in dropped:
            self.stdout.write(f"dropped {name}")
        self.stdout.write(self.style.SUCCESS(f"Dropped {len(dropped)} partitions."))
