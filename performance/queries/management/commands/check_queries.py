from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

USAGE_ERRORS = (2, 3, 4, 5)
"""pytest's exit codes for no results: interrupted, broken, wrong use, no tests."""


class Command(BaseCommand):
    help = "Run tests and fail for N+1s and for statements that no index serves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print what was found as JSON")
        parser.add_argument("--small", default="", help="tables that may be read whole, by commas")
        parser.add_argument("tests", nargs="*", help="what pytest is to run; all when none")

    def handle(self, *args: Any, tests: list[str], small: str, **options: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "found.json"
            argv = [
                *(sys.executable, "-m", "pytest", "-q", "-p", "performance.queries.pytest_plugin"),
                *("--check-queries", f"--check-queries-report={report}"),
                *(f"--check-queries-small={small}", *tests),
            ]
            ended = subprocess.run(argv, capture_output=True, text=True, check=False)
            if ended.returncode in USAGE_ERRORS or not report.exists():
                said = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-15:])
                raise CommandError(
                    f"pytest ended with {ended.returncode} and checked nothing:\n{said}"
                )
            found = json.loads(report.read_text())
        if options["json"]:
            self.stdout.write(json.dumps(found))
        for one in [] if options["json"] else found:
            self.stdout.write(
                f"{one['kind']} in {one['test']}, {one['count']} times, at {one['line']}\n"
                f"    {one['sql'][:160]}\n    {one['remedy']}"
            )
        if found:
            raise CommandError(f"{len(found)} problems were found.")
        if ended.returncode:
            raise CommandError("Some tests failed for other reasons; run pytest to see them.")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS("No N+1 and no missing index."))
