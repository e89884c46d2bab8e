from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.cdn import services
from performance.cdn.errors import BuildFailed


class Command(BaseCommand):
    help = "Check that static files name only what is there, and that pages keep their budgets."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            weights = services.weigh_pages()
        except BuildFailed as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            rows = [
                {
                    "template": one.template,
                    "files": one.files,
                    "size_bytes": one.size_bytes,
                    "budget_bytes": one.budget_bytes,
                }
                for one in weights
            ]
            self.stdout.write(json.dumps(rows))
            return
        for one in weights:
            self.stdout.write(str(one))
