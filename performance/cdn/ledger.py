"""Purges that survive: written with the change that asks for them, sent after its COMMIT."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Iterable
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from performance.cdn.conf import conf
from performance.cdn.errors import (
    InvalidPurge,
    LimitReached,
    ProviderRefused,
    ProviderUnreachable,
    WrongCredentials,
)
from performance.cdn.models import Purge, PurgeUse
from performance.cdn.providers.base import Provider, Receipt
from performance.core import signals

logger = logging.getLogger(__name__)

TAG = re.compile(r"[A-Za-z0-9:_./%-]{1,128}")
URL = re.compile(r"/(?!/)[\x21-\x7e]{0,2000}")
ITEMS_LIMIT = 10_000
FIRST_RETRY_S = 2
LONGEST_RETRY_S = 300
SHOWN = 80


def check_targets(urls: Iterable[str], tags: Iterable[str]) -> None:
    """Raise InvalidPurge for what would split a header or means nothing to an edge."""
    for number, tag in enumerate(tags):
        if not TAG.fullmatch(tag):
            raise InvalidPurge(
                _shown(tag), "a tag is 1 to 128 of: letters, digits, ':', '_', '.', '-', '/', '%'."
            )
        if number >= ITEMS_LIMIT:
            raise InvalidPurge(_shown(tag), f"one purge names at most {ITEMS_LIMIT} tags.")
    for number, url in enumerate(urls):
        if not URL.fullmatch(url) or "*" in url[:-1]:
            raise InvalidPurge(
                _shown(url),
                "a URL is a path that starts with one '/', holds ASCII without spaces (others "
                "as %C3%A9), and may end in '*'.",
            )
        if ".." in re.split(r"[/\\]|%2[fF]|%5[cC]", url.partition("?")[0].replace("%2e", ".")):
            raise InvalidPurge(_shown(url), "'..' leads out of a path; write it without.")
        if number >= ITEMS_LIMIT:
            raise InvalidPurge(_shown(url), f"one purge names at most {ITEMS_LIMIT} URLs.")


def _shown(target: str) -> str:
    return target if len(target) <= SHOWN else f"{target[:SHOWN]}… ({len(target)} characters)"


def record(
    provider: Provider,
    *,
    urls: list[str],
    tags: list[str],
    soft: bool,
    everything: bool = False,
    note: str = "",
) -> Purge:
    """Write the purge into the caller's own transaction: no commit, no purge; commit, a purge.

    The same purge that still waits is not written twice.
    """
    same = {
        "provider": provider.name,
        "urls": urls,
        "tags": tags,
        "soft": soft,
        "everything": everything,
    }
    waiting = Purge.objects.filter(state=Purge.State.PENDING, attempts=0, **same).first()
    return waiting or Purge.objects.create(note=note, **same)


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
        receipt = _ask(provider, purge)
    except ProviderRefused as error:
        purge.answer, purge.state = str(error), Purge.State.FAILED
        wrong_key = isinstance(error, WrongCredentials)
        purge.trouble = Purge.Trouble.CREDENTIALS if wrong_key else Purge.Trouble.REFUSED
    except ProviderUnreachable as error:
        _try_again(purge, error)
    else:
        purge.answer, purge.state = receipt.said, Purge.State.SENT
        purge.trouble, purge.calls = Purge.Trouble.NONE, receipt.calls
        purge.cost_usd = _charge(provider, purge, receipt)
    if purge.state != Purge.State.PENDING:
        purge.finished_at = timezone.now()
    if purge.state == Purge.State.FAILED:
        logger.error(
            "Gave up purge %s after %d attempts: %s", purge.pk, purge.attempts, purge.answer
        )
    purge.save()
    signals.recorder.count("cdn_purge", f"{provider.name}:{purge.trouble or purge.state}")
    return purge.state == Purge.State.SENT


def _ask(provider: Provider, purge: Purge) -> Receipt:
    if purge.provider != provider.name:
        raise ProviderRefused(
            f"It was meant for {purge.provider}, and CDN_PROVIDER is {provider.name} now."
        )
    reference = str(purge.pk)
    if purge.everything:
        return provider.purge_all(reference=reference, soft=purge.soft)
    return provider.purge(reference=reference, urls=purge.urls, tags=purge.tags, soft=purge.soft)


def _try_again(purge: Purge, error: ProviderUnreachable) -> None:
    """Set when, with growing pauses; a limit's own word counts where it is longer."""
    limit = error if isinstance(error, LimitReached) else None
    purge.answer = str(error)
    purge.trouble = Purge.Trouble.LIMIT if limit else Purge.Trouble.UNREACHABLE
    if purge.attempts >= conf().max_attempts:
        purge.state = Purge.State.FAILED
    wait_s = min(FIRST_RETRY_S * 2.0 ** (purge.attempts - 1), LONGEST_RETRY_S)
    if limit:
        wait_s = max(wait_s, limit.retry_after_s)
    purge.next_attempt_at = timezone.now() + datetime.timedelta(seconds=wait_s)


def _charge(provider: Provider, purge: Purge, receipt: Receipt) -> Decimal:
    """Add to the day's use, and return what this purge costs beyond the month's free items."""
    today = timezone.now().date()
    use, _ = PurgeUse.objects.get_or_create(provider=provider.name, day=today)
    before = month_of(provider.name)["billed"]
    free = provider.free_items
    paid = max(0, before + receipt.billed - free) - max(0, before - free)
    cost_usd = paid * provider.price_usd
    PurgeUse.objects.filter(pk=use.pk).update(
        purges=F("purges") + 1,
        items=F("items") + purge.items,
        calls=F("calls") + receipt.calls,
        billed=F("billed") + receipt.billed,
        cost_usd=F("cost_usd") + cost_usd,
    )
    return cost_usd


def month_of(provider: str) -> dict[str, int | Decimal]:
    """Return what a provider was asked this calendar month: purges, items, calls, billed, USD."""
    names = ("purges", "items", "calls", "billed", "cost_usd")
    first = timezone.now().date().replace(day=1)
    sums = PurgeUse.objects.filter(provider=provider, day__gte=first).aggregate(
        **{f"all_{name}": Sum(name) for name in names}
    )
    return {name: sums[f"all_{name}"] or 0 for name in names}


def prune(keep_days: int = 30, keep_sent_days: int = 2) -> int:
    """Delete old purges; return how many. A market makes one a second, and few ever fail."""
    now = timezone.now()
    sent = Q(state=Purge.State.SENT, finished_at__lt=now - datetime.timedelta(keep_sent_days))
    any_end = Q(finished_at__lt=now - datetime.timedelta(keep_days))
    deleted, _ = Purge.objects.filter(sent | any_end).delete()
    return deleted
