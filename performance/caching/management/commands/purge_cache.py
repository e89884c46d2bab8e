from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.caching.services import UnknownFamily, UnusableArgument, cache


class Command(BaseCommand):
    help = "Make cached values a miss, or with --soft stale: served while they are refreshed."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--tag", action="append", default=[], help="repeatable")
        what.add_argument("--family", action="append", default=[], help="repeatable")
        what.add_argument("--key", help='a family and its arguments as JSON: board["soccer_epl"]')
        what.add_argument("--all", action="store_true", help="every family")
        parser.add_argument("--soft", action="store_true")
        parser.add_argument("--dry-run", action="store_true", help="say what would be purged")

    def handle(self, *args: Any, soft: bool, dry_run: bool, **options: Any) -> None:
        try:
            named = self._named(options, soft)
            if dry_run:
                self.stdout.write(f"Would purge {named}.")
                return
            done = self._purge(options, soft)
        except (UnknownFamily, UnusableArgument) as error:
            raise CommandError(str(error)) from None
        if not done:
            raise CommandError("The cache server does not answer: nothing was purged. CACHE_URL?")
        self.stdout.write(self.style.SUCCESS(f"Purged {named}."))

    def _named(self, options: dict[str, Any], soft: bool) -> str:
        softly = " softly" if soft else ""
        if options["tag"]:
            return f"the tags {', '.join(options['tag'])}{softly}"
        if options["key"]:
            if soft:
                raise CommandError("--key removes one value; --soft goes with tags and families.")
            name, arguments = _key(options["key"])
            return f"{cache.family(name).name}{tuple(arguments)!r}"
        names = options["family"] or [family.name for family in cache.families()]
        return f"the families {', '.join(cache.family(name).name for name in names)}{softly}"

    def _purge(self, options: dict[str, Any], soft: bool) -> bool:
        if options["tag"]:
            return cache.invalidate(*options["tag"], hard=not soft)
        if options["key"]:
            name, arguments = _key(options["key"])
            return cache.purge_key(name, *arguments)
        return cache.purge(*options["family"], hard=not soft)


def _key(text: str) -> tuple[str, list[Any]]:
    name, bracket, rest = text.partition("[")
    try:
        arguments = json.loads(bracket + rest)
    except json.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, list):
        raise CommandError(f'--key is {text!r}; it looks like board["soccer_epl"].')
    return name, arguments
