"""The outbox of alerts: messages are sent at least once, retried with backoff, never forgotten."""

from __future__ import annotations

import logging
import smtplib
from datetime import UTC, datetime, timedelta

from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import F

from performance.monitoring.models import AlertMessage

logger = logging.getLogger(__name__)

AT_ONCE = 10
TIMEOUT_S = 5
FIRST_RETRY_S = 5
LONGEST_RETRY_S = 900
CLAIM_S = 60
"""A message is claimed for this long; if its sender is killed meanwhile it is due again."""


def deliver() -> int:
    """Send the messages that are due, `AT_ONCE` at most; return how many went out.

    No transaction is open while a mail server is waited for. One that is killed between sending
    and noting so sends again: an alert told twice is better than one not told.
    """
    now = datetime.now(UTC)
    with transaction.atomic():
        due = list(
            AlertMessage.objects.select_for_update(skip_locked=True)
            .filter(sent_at=None, next_try_at__lte=now)
            .order_by("id")[:AT_ONCE]
        )
        AlertMessage.objects.filter(pk__in=[message.pk for message in due]).update(
            next_try_at=now + timedelta(seconds=CLAIM_S), attempts=F("attempts") + 1
        )
    return sum(_send(message) for message in due)


def _send(message: AlertMessage) -> bool:
    event = message.event
    mail = EmailMessage(
        subject=f"[ProTipp] {event.text}"[:120].replace("\n", " "),
        body=f"{event.text}\n\nAt {event.at:%Y-%m-%d %H:%M:%S} UTC.",
        to=[message.recipient],
        connection=get_connection(timeout=TIMEOUT_S),
    )
    row = AlertMessage.objects.filter(pk=message.pk)
    try:
        mail.send()
    except (smtplib.SMTPException, OSError) as error:
        wait_s = min(FIRST_RETRY_S * 2**message.attempts, LONGEST_RETRY_S)
        row.update(
            last_error=str(error)[:300], next_try_at=datetime.now(UTC) + timedelta(seconds=wait_s)
        )
        if message.attempts == 0:
            logger.warning("An alert could not be mailed to %s: %s", message.recipient, error)
        return False
    row.update(sent_at=datetime.now(UTC), last_error="")
    return True
