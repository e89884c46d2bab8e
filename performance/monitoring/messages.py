"""What a batch of alerts says: as a mail, as JSON, and as Slack has it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from performance.monitoring.models import AlertEvent

SUBJECT_LENGTH = 120
COLOURS = {"fired": "danger", "no_data": "warning", "reminded": "danger"}


def subject(events: Sequence[AlertEvent]) -> str:
    """Say the one, or how many begin and end."""
    if len(events) == 1:
        text = events[0].text
    else:
        over = sum(event.event in ("cleared", "data_back") for event in events)
        begun = len(events) - over
        parts = [f"{begun} alerts" if begun else "", f"{over} over" if over else ""]
        names = ", ".join(dict.fromkeys(event.rule.name for event in events))
        text = f"{', '.join(part for part in parts if part)}: {names}"
    return f"[ProTipp] {text}"[:SUBJECT_LENGTH].replace("\n", " ").replace("\r", " ")


def mail_text(events: Sequence[AlertEvent], page_url: str) -> str:
    lines = [f"{event.at:%Y-%m-%d %H:%M:%S} UTC  {event.text}" for event in events]
    return "\n".join([*lines, "", page_url])


def webhook_body(events: Sequence[AlertEvent], *, batch: str, page_url: str) -> bytes:
    """Return the JSON that docs/monitoring.md describes; the same batch has the same bytes."""
    return json.dumps(
        {
            "id": batch,
            "subject": subject(events),
            "url": page_url,
            "alerts": [_as_json(event) for event in events],
        },
        ensure_ascii=False,
    ).encode()


def _as_json(event: AlertEvent) -> dict[str, Any]:
    return {
        "event_id": event.pk,
        "event": event.event,
        "rule_id": event.rule_id,
        "rule": event.rule.name,
        "severity": event.rule.severity,
        "metric": event.rule.metric,
        "value": event.value,
        "subject": event.subject,
        "text": event.text,
        "at": event.at.isoformat().replace("+00:00", "Z"),
    }


def slack_body(events: Sequence[AlertEvent], *, page_url: str) -> bytes:
    """Return Slack's shape, which Mattermost and Rocket.Chat take too."""
    attachments = [
        {
            "color": COLOURS.get(event.event, "good"),
            "fallback": event.text,
            "text": _escaped(event.text),
            "ts": int(event.at.timestamp()),
            "footer": event.rule.severity,
        }
        for event in events
    ]
    text = f"{_escaped(subject(events))} <{page_url}|open>"
    return json.dumps({"text": text, "attachments": attachments}, ensure_ascii=False).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
