"""The log of what was decided: a row each, and a line in the log so that neither hides."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from performance.balancing.models import Decision
from performance.balancing.nodes import Node

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


def note_changes(
    before: Iterable[Node], after: Iterable[Node], stopped: Collection[str], *, by: str, token: int
) -> None:
    """Write what differs between two lists of nodes; `stopped` were ended on purpose."""
    was = {node.id: node for node in before}
    now = {node.id: node for node in after}
    for node_id in sorted(now.keys() & was.keys()):
        node = now[node_id]
        if node.aside != was[node_id].aside and not node.draining:
            record(
                "aside" if node.aside else "back",
                kind=node.kind, node_id=node_id, by=by, token=token,
                reason=f"it does not reach its {' and '.join(node.lost)}, others do"
                if node.aside else "it is no worse off than the others",
            )  # fmt: skip
    for node_id in sorted(now.keys() - was.keys()):
        node = now[node_id]
        record(
            "join", kind=node.kind, node_id=node_id, by=by, token=token,
            reason=f"it announced itself at {node.address} with {node.slots} slots",
        )  # fmt: skip
    for node_id in sorted(was.keys() - now.keys()):
        why = "it was stopped" if node_id in stopped else "it is silent, and checks fail"
        record("leave", kind=was[node_id].kind, node_id=node_id, by=by, token=token, reason=why)


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
