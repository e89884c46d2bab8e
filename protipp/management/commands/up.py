from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from protipp import env

SOURCES = ("simulate", "the-odds-api", "none")


class Command(BaseCommand):
    help = (
        "Start the whole site on this machine, watch it, and end it on Ctrl-C. "
        "PORT (8000) and BIND (127.0.0.1) say where; DATABASE_URL, CACHE_URL and REDIS_URL name "
        "servers to use instead of local ones."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--source", choices=SOURCES, default="simulate", help="the feed to run")
        parser.add_argument(
            "--edge", action="store_true", help="run Varnish and an S3 of our own beside the site"
        )

    def handle(self, *args: Any, source: str, edge: bool, **options: Any) -> None:
        """Become the supervisor: the same process, without Django and the threads of its rooms."""
        os.chdir(env.BASE_DIR)
        more = ["--edge"] if edge else []
        os.execv(sys.executable, [sys.executable, "-m", "protipp.stack", source, *more])
