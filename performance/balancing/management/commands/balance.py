from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services


class Command(BaseCommand):
    help = "Keep the proxy's list of nodes right, drain, and scale by demand, until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--directory",
            type=Path,
            default=os.environ.get("PROTIPP_HAPROXY_DIR"),
            help="the folder of haproxy.cfg and its sockets (PROTIPP_HAPROXY_DIR)",
        )

    def handle(self, *args: Any, directory: Path | str | None, **options: Any) -> None:
        if not directory:
            raise CommandError(
                "Which proxy? Set PROTIPP_HAPROXY_DIR to the folder of haproxy.cfg, "
                "or give --directory. `manage.py up` does so by itself."
            )
        stopped = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopped.set())
        services.run_balancer(Path(directory), stopped)
