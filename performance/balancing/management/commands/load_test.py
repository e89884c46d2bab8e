from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.errors import PerformanceError


class Command(BaseCommand):
    help = (
        "Let more and more users ask this site, by its own address on loopback, and draw latency "
        "against users. What it measures is what the balancer page's capacity is fitted to."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--users", type=int, default=200, help="at the last step, 1 to 5000 (200)")
        add("--steps", type=int, default=6, help="1 to 20 (6)")
        add("--seconds", type=float, default=5.0, help="each step, 0.5 to 60 (5)")
        add("--every", type=float, default=0.5, help="how often each user asks, 0.1 to 60 s (0.5)")
        add("--path", action="append", help="what is asked for, may be repeated (/api/v1/sports)")
        add("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, path: list[str] | None, **options: Any) -> None:
        if not settings.PROXY_DIRECTORY:
            raise CommandError(
                "No site runs in this tree: `manage.py up` starts one, or set PROTIPP_HAPROXY_DIR "
                "to the folder of its haproxy.cfg."
            )
        failed = 0
        try:
            steps = services.load_test(
                Path(settings.PROXY_DIRECTORY), users=options["users"], steps=options["steps"],
                seconds=options["seconds"], every_s=options["every"],
                paths=dict.fromkeys(path or ["/api/v1/sports"], 1.0), by=getpass.getuser(),
            )  # fmt: skip
            for step in steps:
                failed += step.errors
                self._say(step, as_json=options["json"])
        except PerformanceError as error:
            raise CommandError(str(error)) from error
        if failed:
            raise CommandError(f"{failed} requests failed: these nodes hold fewer users.")

    def _say(self, step: Any, *, as_json: bool) -> None:
        if as_json:
            names = ("users", "per_s", "mean_ms", "p50_ms", "p99_ms", "errors", "nodes")
            self.stdout.write(json.dumps({name: getattr(step, name) for name in names}))
            return
        bar = "#" * min(60, max(1, round(step.p99_ms / 2)))
        self.stdout.write(
            f"{step.users:6} users  {step.per_s:8.0f}/s  p50 {step.p50_ms:7.1f} ms  "
            f"p99 {step.p99_ms:7.1f} ms  {step.errors:5} errors  {bar}"
        )
