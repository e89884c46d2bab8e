from __future__ import annotations

import getpass
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.errors import PerformanceError

KINDS = ("web", "live")


class Command(BaseCommand):
    help = "Set how many nodes there are (web=3), let demand decide (web=auto), or replay a demand."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("targets", nargs="*", metavar="KIND=COUNT", help="web=3 live=auto")
        for kind in KINDS:
            parser.add_argument(f"--{kind}", metavar="COUNT", help=f"the same as {kind}=COUNT")
        parser.add_argument("--auto", action="store_true", help="let demand decide of all kinds")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what the targets would do, and do nothing"
        )
        parser.add_argument(
            "--replay", metavar="FILE", help="JSON lines with at_s, in_use, queued; - is stdin"
        )
        parser.add_argument("--kind", default="web", help="whose rules a replay uses")
        parser.add_argument(
            "--boot-s", type=float, default=5.0, help="seconds a node takes to start, in a replay"
        )

    def handle(self, *args: Any, targets: list[str], **options: Any) -> None:
        for kind in KINDS:
            count = options[kind] if options[kind] is not None else options["auto"] and "auto"
            if count is not False:
                targets = [*targets, f"{kind}={count}"]
        if bool(targets) == bool(options["replay"]):
            raise CommandError("Give targets such as web=3, or --replay FILE.")
        try:
            if options["replay"]:
                self._replay(options["replay"], options["kind"], options["boot_s"], options["json"])
            else:
                for kind, count in [_parse(target) for target in targets]:
                    self._scale(kind, count, options["json"], dry_run=options["dry_run"])
        except PerformanceError as error:
            raise CommandError(str(error)) from error

    def _scale(self, kind: str, count: int | None, as_json: bool, *, dry_run: bool) -> None:
        if dry_run:
            there = [node for node in services.nodes() if node["kind"] == kind]
            present = sum(not node["draining"] for node in there)
            said = services.autoscaler.preview(kind, count, present)
        else:
            said = services.scale(kind, count, by=getpass.getuser())
        if as_json:
            said = json.dumps({"kind": kind, "count": count, "dry_run": dry_run, "said": said})
        self.stdout.write(said)

    def _replay(self, name: str, kind: str, boot_s: float, as_json: bool) -> None:
        try:
            with nullcontext(sys.stdin) if name == "-" else Path(name).open() as lines:
                done = services.autoscaler.replay(lines, kind, boot_s)
        except OSError as error:
            raise CommandError(f"{name} cannot be read: {error.strerror}") from error
        for at_s, verdict in done.verdicts:
            if as_json:
                row = {"at_s": at_s, "action": verdict.action, "count": verdict.count}
                row |= {"reason": verdict.reason, "inputs": verdict.inputs}
                self.stdout.write(json.dumps(row))
            else:
                self.stdout.write(
                    f"{at_s:10.0f} s  {verdict.action:10}  {verdict.count:3}  {verdict.reason}"
                )
        if as_json:
            self.stdout.write(
                json.dumps(
                    {
                        "node_hours": round(done.node_hours, 4),
                        "fixed_node_hours": round(done.fixed_node_hours, 4),
                        "short_s": round(done.short_s, 3),
                        "missed_s": round(done.missed_s, 3),
                        "flaps": done.flaps,
                    }
                )
            )
        else:
            self.stdout.write(
                f"{done.node_hours:.2f} node-hours ({done.fixed_node_hours:.2f} with the most "
                f"nodes always on); demand above all slots for {done.short_s:.0f} s; "
                f"out of the objective for {done.missed_s:.0f} of {done.total_s:.0f} s; "
                f"{done.flaps} flaps."
            )


def _parse(target: str) -> tuple[str, int | None]:
    kind, equals, count = target.partition("=")
    if equals and count == "auto":
        return kind, None
    if not equals or not count.isdigit():
        raise CommandError(f"{target!r} is no target; write web=3, or web=auto.")
    return kind, int(count)
