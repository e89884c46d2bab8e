"""The outbox of alerts: messages are sent at least once, retried with backoff, never forgotten.

What waits for one address goes out as one batch with a number of its own. A batch that failed, or
whose sender was killed, is sent again as it was under the same number (the mail's Message-ID, the
webhook's Idempotency-Key): a receiver that knows numbers hears nothing twice.
"""

from __future__ import annotations

import logging
import smtplib
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, transaction
from django.db.models import F

from performance.monitoring import messages, outbound, telling
from performance.monitoring.errors import AddressRefused
from performance.monitoring.models import AlertMessage

logger = logging.getLogger(__name__)

AT_ONCE = 10
A_BATCH = 50
TIMEOUT_S = 5
FIRST_RETRY_S = 5
LONGEST_RETRY_S = 900
GIVEN_UP_AFTER = timedelta(days=3)
"""News of an alarm that old helps nobody; the row stays, with its last error."""
CLAIM_S = 60
"""A batch is claimed for this long; if its sender is killed meanwhile it is due again."""
LOOK_EVERY_S = 1.0

_PROBLEMS = (smtplib.SMTPException, OSError, httpx.HTTPError, AddressRefused)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that go to one address together, in the order of what happened."""

    number: uuid.UUID
    rows: list[AlertMessage]

    @property
    def first(self) -> AlertMessage:
        return self.rows[0]


def run(stop: threading.Event) -> None:
    """Deliver until `stop`, in a thread that may wait for slow receivers; the keeper may not."""
    while not stop.wait(LOOK_EVERY_S):
        close_old_connections()
        try:
            deliver()
        except (DatabaseError, psycopg.Error):
            continue  # the keeper says that PostgreSQL is away; the outbox waits there
    connection.close()


def deliver() -> int:
    """Send what is due, `AT_ONCE` batches at most; return how many messages went out.

    No transaction is open while a server is waited for. One that is killed between sending and
    noting so sends again: an alert told twice is better than one not told.
    """
    return sum(_send(batch) for batch in claim(datetime.now(UTC)))


def claim(now: datetime) -> list[Batch]:
    """Return what is due, as batches that are ours for `CLAIM_S`."""
    batches: list[Batch] = []
    with transaction.atomic():
        waiting = AlertMessage.objects.select_for_update(skip_locked=True, of=("self",)).filter(
            sent_at=None, event__at__gt=now - GIVEN_UP_AFTER
        )
        due = waiting.filter(next_try_at__lte=now).order_by("id")
        addresses = list(dict.fromkeys(due.values_list("channel", "recipient", "batch")[:500]))
        for channel, recipient, number in addresses[:AT_ONCE]:
            rows = list(
                waiting.select_related("event__rule", "target")
                .filter(channel=channel, recipient=recipient, batch=number)
                .order_by("event_id")[:A_BATCH]
            )
            if number is None:
                dropped = telling.drop_held(rows)
                rows = [row for row in rows if row.pk not in dropped]
            if rows:
                batches.append(_claimed(Batch(number or uuid.uuid4(), rows), now))
    return batches


def _claimed(batch: Batch, now: datetime) -> Batch:
    AlertMessage.objects.filter(pk__in=[row.pk for row in batch.rows]).update(
        batch=batch.number,
        next_try_at=now + timedelta(seconds=CLAIM_S),
        attempts=F("attempts") + 1,
    )
    return batch


def _send(batch: Batch) -> int:
    rows = AlertMessage.objects.filter(pk__in=[row.pk for row in batch.rows])
    first = batch.first
    try:
        _SENDERS[first.channel](batch)
    except _PROBLEMS as error:
        wait_s = min(FIRST_RETRY_S * 2 ** min(first.attempts, 10), LONGEST_RETRY_S)
        rows.update(
            last_error=str(error)[:300], next_try_at=datetime.now(UTC) + timedelta(seconds=wait_s)
        )
        if first.attempts == 0:
            logger.warning(
                "An alert could not be sent by %s to %s: %s", first.channel, _where(first), error
            )
        return 0
    return rows.update(sent_at=datetime.now(UTC), last_error="")


def _where(row: AlertMessage) -> str:
    """A webhook's address may hold a key: the log gets the channel's name instead."""
    return row.target.name if row.target is not None else row.recipient


def _mail(batch: Batch) -> None:
    events = [row.event for row in batch.rows]
    EmailMessage(
        subject=messages.subject(events),
        body=messages.mail_text(events, page_url()),
        to=[batch.first.recipient],
        headers={"Message-ID": f"<{batch.number}@alerts.protipp>"},
        connection=get_connection(timeout=TIMEOUT_S),
    ).send()


def _webhook(batch: Batch) -> None:
    events = [row.event for row in batch.rows]
    body = messages.webhook_body(events, batch=str(batch.number), page_url=page_url())
    secret = batch.first.target.secret if batch.first.target is not None else ""
    signed = {"X-ProTipp-Signature": outbound.signature(secret, body)} if secret else {}
    _post(batch, body, signed)


def _slack(batch: Batch) -> None:
    events = [row.event for row in batch.rows]
    _post(batch, messages.slack_body(events, page_url=page_url()), {})


def _post(batch: Batch, body: bytes, headers: dict[str, str]) -> None:
    number = str(batch.number)
    status = outbound.post(
        batch.first.recipient,
        body,
        {"Content-Type": "application/json", "Idempotency-Key": number, **headers},
    )
    if not 200 <= status < 300:
        raise httpx.HTTPError(f"it answered {status}")


def page_url() -> str:
    return f"{settings.SITE_URL.rstrip('/')}/admin/performance/alerts/"


_SENDERS = {"email": _mail, "webhook": _webhook, "slack": _slack}
