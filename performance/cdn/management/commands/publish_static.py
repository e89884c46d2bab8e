from __future__ import annotations

import json
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from performance.cdn import services
from performance.core.errors import PerformanceError
from performance.core.units import format_bytes


class Command(BaseCommand):
    help = "Build the static files and send to the bucket what it lacks, the manifest last."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument("--no-build", action="store_true", help="send what was built before")

    def handle(self, *args: Any, no_build: bool, **options: Any) -> None:
        started = time.monotonic()
        try:
            if not no_build:
                call_command("collectstatic", interactive=False, verbosity=0)
            published = self._publish()
        except (PerformanceError, FileNotFoundError) as error:
            raise CommandError(str(error)) from error
        self._report(published, time.monotonic() - started, as_json=options["json"])

    def _publish(self) -> services.Published:
        console = Console(stderr=True)
        columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("files", total=None)
            return services.publish(lambda name, size_bytes: bar.advance(task))

    def _report(self, published: services.Published, took_s: float, *, as_json: bool) -> None:
        build = published.build
        if as_json:
            report = {
                "build": build.manifest_hash,
                "target": build.target,
                "files": published.files,
                "sent": published.sent,
                "sent_bytes": published.sent_bytes,
                "present": published.present,
                "removed": published.removed,
                "bytes_by_encoding": build.bytes_by_encoding,
                "took_s": round(took_s, 3),
            }
            self.stdout.write(json.dumps(report))
            return
        sizes = build.bytes_by_encoding
        self.stdout.write(
            f"Build {build.manifest_hash[:12]} at {build.target}: {published.files} files, "
            f"{format_bytes(sizes['identity'])} plain, {format_bytes(sizes['br'])} as brotli."
        )
        self.stdout.write(
            self.style.SUCCESS(
                f"Sent {published.sent} ({format_bytes(published.sent_bytes)}), "
                f"{published.present} were there, {published.removed} old ones removed, "
                f"in {took_s:.1f} s."
            )
        )
