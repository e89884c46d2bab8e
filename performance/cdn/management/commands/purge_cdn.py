from __future__ import annotations

import json as json_format
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.cdn import services
from performance.cdn.models import Purge
from performance.core.errors import PerformanceError


class Command(BaseCommand):
    help = "Purge answers at the edge by tag or URL, and wait for the edge's word."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tag", action="append", default=[], help="such as sport:soccer_epl")
        parser.add_argument("--url", action="append", default=[], help="such as /arbitrage/")
        parser.add_argument("--soft", action="store_true", help="expire instead of remove")
        parser.add_argument("--dry-run", action="store_true", help="say what would be purged")
        parser.add_argument("--json", action="store_true")

    def handle(
        self,
        *args: Any,
        tag: list[str],
        url: list[str],
        soft: bool,
        dry_run: bool,
        json: bool,
        **options: Any,
    ) -> None:
        if not tag and not url:
            raise CommandError(
                "Nothing to purge: name it by --tag or --url (each may be repeated)."
            )
        if dry_run:
            self.stdout.write(f"Would purge {len(tag)} tags and {len(url)} URLs.")
            return
        try:
            purge = services.manager.purge(tags=tag, urls=url, soft=soft)
        except PerformanceError as error:
            raise CommandError(str(error)) from error
        purge.refresh_from_db()
        if json:
            report = {"id": str(purge.pk), "state": purge.state, "answer": purge.answer}
            self.stdout.write(json_format.dumps(report))
        elif purge.state == Purge.State.SENT:
            self.stdout.write(self.style.SUCCESS(f"{purge.provider}: {purge.answer}"))
        if purge.state != Purge.State.SENT:
            raise CommandError(
                f"{purge.provider} has not taken it yet ({purge.answer or 'not tried'}); "
                "it stays in the ledger and is tried again."
            )
