from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.monitoring.services import monitor


class Command(BaseCommand):
    help = "Write the enabled alert rules as Prometheus rules and a Grafana dashboard."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", default=str(settings.BASE_DIR / "deploy"))
        parser.add_argument("--check", action="store_true", help="write nothing; fail if it would")

    def handle(self, *args: Any, folder: str, check: bool, **options: Any) -> None:
        changed = []
        for name, text in monitor.deploy_files().items():
            path = Path(folder) / name
            if path.exists() and path.read_text() == text:
                continue
            changed.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        if check and changed:
            raise CommandError(
                f"Out of date: {', '.join(changed)}. Run manage.py export_rules and keep them."
            )
        self.stdout.write(f"Written: {', '.join(changed)}." if changed else "All up to date.")
