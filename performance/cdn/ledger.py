"""Purges that survive: written with the change that asks for them, sent after its COMMIT."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from performance.cdn.conf import conf
from performance.cdn.errors import InvalidPurge, ProviderRefused, ProviderUnreachable
from performance.cdn.models import Purge
from performance.cdn.providers import Provider
from performance.core import signals

logger = logging.getLogger(__name__)

TAG = re.compile(r"[A-Za-z0-9:_./%-]{1,128}")
URL = re.compile(r"/[\x21-\x7e]{0,2000}\*?")
FIRST_RETRY_S = 2
LONGEST_RETRY_S = 300


def check_targets(urls: Iterable[str], tags: Iterable[str]) -> None:
    """Raise InvalidPurge for what would split a header or means nothing to an edge."""
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise InvalidPurge(
                tag, "a tag is 1 to 128 of: letters, digits, ':', '_', '.', '-', '/', '%'."
            )
    for url in urls:
        if not URL.fullmatch(url):
            raise InvalidPurge(
                url, "a URL is a path that starts with '/', has no spaces, and may end in '*'."
            )


def record(provider: Provider, *, urls: list[str], tags: list[str], soft: bool) -> Purge:
    """Write the purge into the caller's own transaction: no commit, no purge; commit, a purge.

    The same purge that still waits is not written twice.
    """
    waiting = Purge.objects.filter(
        state=Purge.State.PENDING,
        attempts=0,
        provider=provider.name,
        urls=urls,
        tags=tags,
        soft=soft,
    ).first()
    return waiting or Purge.objects.create(provider=provider.name, urls=urls, tags=tags, soft=soft)


def deliver(provider: Provider, limit: int = 100) -> tuple[int, int]:
    """Send what is due, oldest first; return how many were sent and how many were not.

    Safe for several at once: each row is locked while its purge is under way, and locked rows are
    passed over. A process killed in between leaves the row waiting, and the edge is told again.
    """
    sent = failed = 0
    for _ in range(limit):
        with transaction.atomic():
            purge = (
                Purge.objects.select_for_update(skip_locked=True)
                .filter(state=Purge.State.PENDING, next_attempt_at__lte=timezone.now())
                .order_by("created_at")
                .first()
            )
            if purge is None:
                return sent, failed
            if _send(provider, purge):
                sent += 1
            else:
                failed += 1
    return sent, failed


def _send(provider: Provider, purge: Purge) -> bool:
    purge.attempts += 1
    try:
        purge.answer = provider.purge(
            reference=str(purge.pk), urls=purge.urls, tags=purge.tags, soft=purge.soft
        )
        purge.state = Purge.State.SENT
    except ProviderRefused as error:
        purge.answer, purge.state = str(error), Purge.State.FAILED
    except ProviderUnreachable as error:
        purge.answer = str(error)
        if purge.attempts >= conf().max_attempts:
            purge.state = Purge.State.FAILED
        wait_s = min(FIRST_RETRY_S * 2 ** (purge.attempts - 1), LONGEST_RETRY_S)
        purge.next_attempt_at = timezone.now() + datetime.timedelta(seconds=wait_s)
    if purge.state != Purge.State.PENDING:
        purge.finished_at = timezone.now()
    if purge.state == Purge.State.FAILED:
        logger.error(
            "Gave up purge %s after %d attempts: %s", purge.pk, purge.attempts, purge.answer
        )
    purge.save()
    ok = purge.state == Purge.State.SENT
    signals.recorder.count("cdn_purge", f"{provider.name}:{purge.state}")
    return ok


def prune(keep_days: int = 30, keep_sent_days: int = 2) -> int:
    """Delete old purges; return how many. A market makes one a second, and few ever fail."""
    now = timezone.now()
    sent = Q(state=Purge.State.SENT, finished_at__lt=now - datetime.timedelta(keep_sent_days))
    any_end = Q(finished_at__lt=now - datetime.timedelta(keep_days))
    deleted, _ = Purge.objects.filter(sent | any_end).delete()
    return deleted
