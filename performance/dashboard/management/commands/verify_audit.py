from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.dashboard import audit


class Command(BaseCommand):
    help = "Verify the hash chain of the staff acts' audit, and name the first bad line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            help="number:hash of a line that the log printed; it must still be in the chain",
        )
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, head: str | None, as_json: bool, **options: Any) -> None:
        verdict = audit.verify(head)
        if as_json:
            self.stdout.write(json.dumps(asdict(verdict)))
        if verdict.problem:
            raise CommandError(f"{verdict.problem} {verdict.checked} lines before it are whole.")
        if not as_json:
            self.stdout.write(
                self.style.SUCCESS(f"{verdict.checked} lines are whole; head {verdict.head}.")
            )
            if verdict.unfinished:
                self.stdout.write(f"{verdict.unfinished} acts began and have not ended.")
