from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.errors import PerformanceError

EVERY_S = 1.0


class Command(BaseCommand):
    help = "Keep the proxy's list of nodes right, drain, and scale by demand, until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--directory",
            type=Path,
            default=os.environ.get("PROTIPP_HAPROXY_DIR"),
            help="the folder of haproxy.cfg and its sockets (PROTIPP_HAPROXY_DIR)",
        )

        parser.add_argument(
            "--dry-run",
            type=int,
            nargs="?",
            const=1,
            metavar="ROUNDS",
            help="say what would be done in so many rounds (1), and do nothing",
        )

    def handle(
        self, *args: Any, directory: Path | str | None, dry_run: int | None, **options: Any
    ) -> None:
        if not directory:
            raise CommandError(
                "Which proxy? Set PROTIPP_HAPROXY_DIR to the folder of haproxy.cfg, "
                "or give --directory. `manage.py up` does so by itself."
            )
        if dry_run is not None:
            self._tell(Path(directory), dry_run)
            return
        stopped = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopped.set())
        services.run_balancer(Path(directory), stopped)

    def _tell(self, directory: Path, rounds: int) -> None:
        if rounds < 1:
            raise CommandError(f"--dry-run is {rounds}; it must be 1 round or more.")
        try:
            looks = services.dry_run(directory)
            for number in range(rounds):
                if number:
                    time.sleep(EVERY_S)
                for line in looks.round():
                    self.stdout.write(line)
        except (PerformanceError, redis.RedisError) as error:
            raise CommandError(str(error)) from error
