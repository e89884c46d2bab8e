"""The log of what was decided: a row each, and a line in the log so that neither hides."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from performance.balancing.models import Decision

logger = logging.getLogger(__name__)


def record(
    action: str,
    *,
    reason: str,
    by: str,
    kind: str = "",
    node_id: str = "",
    before: int | None = None,
    after: int | None = None,
    inputs: dict[str, Any] | None = None,
    token: int = 0,
) -> None:
    """Write one decision; when the database is away the log line is all that remains of it."""
    logger.info("%s %s: %s (by %s)", action, node_id or kind or "proxy", reason, by)
    try:
        Decision.objects.create(
            action=action, reason=reason, by=by, kind=kind, node_id=node_id, before=before,
            after=after, inputs=inputs or {}, token=token,
        )  # fmt: skip
    except DatabaseError as error:
        logger.warning("That decision was not stored: %s", error)


def forget_old(kept_days: int) -> int:
    """Delete decisions older than that; return how many they were."""
    limit = timezone.now() - timedelta(days=kept_days)
    deleted, _ = Decision.objects.filter(at__lt=limit).delete()
    return deleted


class Troubles:
    """Logs each trouble when it begins and when it ends, and not at every tick between."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def began(self, name: str, message: object) -> None:
        text = str(message)
        if name not in self._open:
            logger.warning("%s", text)
        self._open[name] = text

    def ended(self, name: str, message: str) -> None:
        if self._open.pop(name, None) is not None:
            logger.info("%s", message)

    def now(self) -> dict[str, str]:
        return dict(self._open)
