from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from performance.monitoring.services import BadInput, issue_token


class Command(BaseCommand):
    help = "Make a token for /api/v1/performance/ and print it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what it is for, such as `grafana`")
        parser.add_argument("--user", required=True, help="staff whose permissions it has")
        parser.add_argument("--act", action="store_true", help="let it acknowledge and silence too")
        parser.add_argument("--days", type=int, default=365, help="how long it lasts")

    def handle(
        self, *args: Any, name: str, user: str, act: bool, days: int, **options: Any
    ) -> None:
        staff = get_user_model().objects.filter(username=user, is_staff=True).first()
        if staff is None:
            raise CommandError(f"No staff user is called {user!r}.")
        try:
            token = issue_token(name=name, user=staff, may_act=act, days=days)
        except BadInput as error:
            raise CommandError(str(error)) from error
        self.stdout.write(token)
