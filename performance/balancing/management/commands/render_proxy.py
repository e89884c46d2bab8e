from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.balancing import services
from performance.core.errors import PerformanceError


class Command(BaseCommand):
    help = (
        "Write the proxy's first file, with no node in it; `balance` beside it adds those that "
        "announce themselves. `manage.py up` does so by itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--directory", type=Path, required=True, help="for haproxy.cfg")
        parser.add_argument("--bind", default="0.0.0.0", help="an IP address (0.0.0.0)")
        parser.add_argument("--port", type=int, default=8080, help="(8080)")
        parser.add_argument("--stats-port", type=int, help="on loopback; none by default")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        try:
            services.render_proxy(
                [], port=options["port"], directory=directory.resolve(), bind=options["bind"],
                stats_port=options["stats_port"], hosts=settings.ALLOWED_HOSTS,
                session_cookie=settings.SESSION_COOKIE_NAME, static_url=settings.STATIC_URL,
                secure=settings.SECURE,
            )  # fmt: skip
        except PerformanceError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{directory / 'haproxy.cfg'} is written.")
