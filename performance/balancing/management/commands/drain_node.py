from __future__ import annotations

import getpass
import time
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.errors import PerformanceError


class Command(BaseCommand):
    help = "Let a node end what it has, give it nothing new, and stop it; the balancer does it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("node", help="as `manage.py nodes` names it, such as web-2")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--keep", action="store_true", help="do not stop it once it is empty")
        what.add_argument("--undo", action="store_true", help="take a drain back")

        parser.add_argument(
            "--wait", type=float, default=0.0, metavar="SECONDS",
            help="come back once it is empty, or after so many seconds",
        )  # fmt: skip

    def handle(
        self, *args: Any, node: str, keep: bool, undo: bool, wait: float, **options: Any
    ) -> None:
        by = getpass.getuser()
        try:
            if undo:
                said = services.balancer.undrain(node, by=by)
            else:
                said = services.drain(node, by=by, stop=not keep)
                self._wait(node, wait)
        except PerformanceError as error:
            raise CommandError(str(error)) from error
        except redis.RedisError as error:
            raise CommandError(f"The registry (REDIS_URL) does not answer: {error}") from error
        self.stdout.write(said)

    @staticmethod
    def _wait(node_id: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            left = [node for node in services.nodes() if node["id"] == node_id]
            if not left or (left[0]["draining"] and not left[0].get("sessions")):
                return
            time.sleep(0.5)
