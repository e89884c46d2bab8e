from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.caching import services
from performance.core.errors import PerformanceError


class Command(BaseCommand):
    help = "Make cached values a miss, or with --soft stale: served while they are refreshed."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--tag", action="append", default=[], help="repeatable")
        what.add_argument("--family", action="append", default=[], help="repeatable")
        what.add_argument("--key", help='a family and its arguments as JSON: board["soccer_epl"]')
        what.add_argument("--all", action="store_true", help="every family; asks first")
        parser.add_argument("--soft", action="store_true", help="serve the old value once more")
        parser.add_argument("--dry-run", action="store_true", help="say what would be purged")
        parser.add_argument("--yes", action="store_true", help="--all without being asked")

    def handle(self, *args: Any, soft: bool, dry_run: bool, **options: Any) -> None:
        if options["key"] and soft:
            raise CommandError("--key removes one value; --soft goes with tags and families.")
        try:
            target = services.Target(
                tags=tuple(options["tag"]),
                families=tuple(options["family"]),
                key=options["key"] or "",
                everything=options["all"],
            )
            if dry_run:
                self.stdout.write(services.foresee_purge(target, soft=soft).said)
                return
            if options["all"] and not options["yes"]:
                self._ask(services.foresee_purge(target, soft=soft).said)
            done = services.purge(target, soft=soft)
        except PerformanceError as error:
            raise CommandError(str(error)) from None
        if not done:
            raise CommandError("The cache server does not answer: nothing was purged. CACHE_URL?")
        self.stdout.write(
            self.style.SUCCESS(f"Purged {target}{' softly' if soft else ''}, in every process.")
        )

    def _ask(self, said: str) -> None:
        self.stdout.write(said)
        try:
            answer = input("Purge all families? Type yes: ")
        except EOFError:
            raise CommandError("Nobody is here to be asked: give --yes. Nothing done.") from None
        if answer.strip().lower() != "yes":
            raise CommandError(f"{answer!r} is not yes. Nothing was purged.")
