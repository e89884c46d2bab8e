from __future__ import annotations

import json as json_format
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.cdn import services
from performance.cdn.models import Purge
from performance.core.errors import PerformanceError

SURE = "purge everything"


class Command(BaseCommand):
    help = "Purge at the edge by tag, by URL, or everything, and print the edge's word."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tag", action="append", default=[], help="such as sport:soccer_epl")
        parser.add_argument("--url", action="append", default=[], help="such as /arbitrage/")
        parser.add_argument("--all", action="store_true", help="everything; it asks first")
        parser.add_argument("--yes", action="store_true", help="do not ask before --all")
        parser.add_argument("--soft", action="store_true", help="expire instead of remove")
        parser.add_argument("--dry-run", action="store_true", help="say what would be purged")
        parser.add_argument(
            "--check", action="store_true", help="ask the edge for the URLs until they are new"
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        tags, urls = options["tag"], options["url"]
        if not tags and not urls and not options["all"]:
            raise CommandError(
                "Nothing to purge: name it by --tag or --url (each may be repeated), or --all."
            )
        if options["all"] and (tags or urls):
            raise CommandError("--all purges everything: leave --tag and --url out.")
        try:
            if options["dry_run"]:
                would = services.preview(tags, urls, everything=options["all"])
                self._report({"would": would}, options)
                return
            if options["all"] and not options["yes"]:
                self._ask()
            asked_at = time.time()
            purge = (
                services.manager.purge_all(soft=options["soft"])
                if options["all"]
                else services.manager.purge(tags=tags, urls=urls, soft=options["soft"])
            )
            purge.refresh_from_db()
            checked = services.read_back(urls, asked_at) if options["check"] else []
        except PerformanceError as error:
            raise CommandError(str(error)) from error
        self._tell(purge, checked, options)

    def _ask(self) -> None:
        question = f"The origin answers every first request then. Type '{SURE}' to go on: "
        try:
            answer = input(question)
        except EOFError:
            raise CommandError(
                "--all asks first, and nobody is there to answer: add --yes."
            ) from None
        if answer.strip() != SURE:
            raise CommandError("Nothing was purged.")

    def _tell(self, purge: Purge, checked: list[Any], options: dict[str, Any]) -> None:
        report = {
            "id": str(purge.pk),
            "state": purge.state,
            "trouble": purge.trouble,
            "answer": purge.answer,
            "note": purge.note,
            "cost_usd": float(purge.cost_usd),
            "read_back": [
                {"url": one.path, "fresh": one.fresh, "detail": one.detail} for one in checked
            ],
        }
        if options["json"] or purge.state == Purge.State.SENT:
            self._report(report, options)
        if purge.state != Purge.State.SENT:
            raise CommandError(
                f"{purge.provider} has not taken it ({purge.answer or 'not tried yet'}); "
                + (
                    "it is given up: mend that and purge again."
                    if purge.state == Purge.State.FAILED
                    else "it stays in the ledger and is tried again."
                )
            )
        if stale := [one for one in checked if not one.fresh]:
            raise CommandError(
                f"{len(stale)} of {len(checked)} URLs are not new yet; {stale[0].path}: "
                f"{stale[0].detail}."
            )

    def _report(self, report: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json_format.dumps(report))
            return
        if "would" in report:
            self.stdout.write(f"Would purge {report['would']}")
            return
        said = " ".join(filter(None, (report["note"], report["answer"])))
        self.stdout.write(self.style.SUCCESS(f"Purged: {said}"))
        for one in report["read_back"]:
            self.stdout.write(f"read back {one['url']}: {one['detail']}")
