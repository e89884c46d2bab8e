"""The audit of staff acts: append a line to its hash chain, read an outcome, verify the chain."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils import timezone

from performance.dashboard.models import AuditEntry

logger = logging.getLogger(__name__)

BEFORE_THE_FIRST = "0" * 64
CHAIN_LOCK = 7_206_531_174_201  # any number, the same in every process
LOCK_TIMEOUT_MS = 2_000
RESULT_LIMIT = 4_000  # characters
GIVEN_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found. `problem` is None for a whole chain, else names the first bad line."""

    checked: int
    head: str
    """`number:hash` of the last line; compare it with one that was kept elsewhere."""
    problem: str | None = None
    unfinished: int = 0
    """Acts that began and never ended: their process was killed meanwhile."""


def append(
    state: AuditEntry.State,
    *,
    act: str,
    run: str,
    who: AbstractBaseUser | AnonymousUser,
    address: str,
    given: Mapping[str, Any],
    result: str = "",
) -> AuditEntry:
    """Add one line and return it once it is committed.

    Writers wait for each other, 2 s at most; then OperationalError. IntegrityError says that the
    run has begun (or ended) before.
    """
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute("select pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        last = AuditEntry.objects.order_by("-number").first()
        entry = AuditEntry(
            number=last.number + 1 if last else 1,
            at=timezone.now(),
            state=state,
            act=act,
            run=run,
            who_id=who.pk,
            who=who.get_username()[:150],
            address=address[:45],
            given=_json(given)[:GIVEN_LIMIT],
            result=result.replace("\x00", "")[:RESULT_LIMIT],
            previous=last.hash if last else BEFORE_THE_FIRST,
        )
        entry.hash = digest(entry)
        entry.save(force_insert=True)
    logger.info("audit %s:%s %s %s by %s", entry.number, entry.hash, act, state.value, entry.who)
    return entry


def digest(entry: AuditEntry) -> str:
    """The line's SHA-256, over all its values and the hash of the line before."""
    values = [
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.state,
        entry.act,
        entry.run,
        entry.who_id,
        entry.who,
        entry.address,
        entry.given,
        entry.result,
        entry.previous,
    ]
    return hashlib.sha256(json.dumps(values, ensure_ascii=True).encode()).hexdigest()


def begin_of(run: str) -> AuditEntry | None:
    return AuditEntry.objects.filter(run=run, state=AuditEntry.State.BEGAN).first()


def end_of(run: str) -> AuditEntry | None:
    """Return how a run ended; None while it runs, and for one that was killed."""
    ended = [AuditEntry.State.DONE, AuditEntry.State.FAILED]
    return AuditEntry.objects.filter(run=run, state__in=ended).first()


def verify(head: str | None = None) -> Verdict:
    """Walk the whole chain from its first line; about 30,000 lines a second, memory bounded.

    Lines cut off the end leave a whole, shorter chain: only a `head` (`number:hash`) from the log,
    given here, shows that.
    """
    previous, number = BEFORE_THE_FIRST, 0
    seen_head = head is None
    open_runs: set[str] = set()
    for entry in AuditEntry.objects.order_by("number").iterator(chunk_size=2_000):
        problem = _problem(entry, number + 1, previous)
        if problem:
            return Verdict(number, f"{number}:{previous}", problem)
        number, previous = entry.number, entry.hash
        seen_head = seen_head or head == f"{number}:{previous}"
        if entry.state == AuditEntry.State.BEGAN:
            open_runs.add(entry.run)
        else:
            open_runs.discard(entry.run)
    problem = None if seen_head else f"The line {head} is not in the chain: it was cut or replaced."
    return Verdict(number, f"{number}:{previous}", problem, unfinished=len(open_runs))


def _problem(entry: AuditEntry, number: int, previous: str) -> str | None:
    if entry.number != number:
        return f"Line {number} is missing; after it comes {entry.number}."
    if entry.previous != previous:
        return f"Line {number} does not follow the line before it: lines were moved or put in."
    if digest(entry) != entry.hash:
        return f"Line {number} was altered: its values do not give its hash."
    return None


def _json(given: Mapping[str, Any]) -> str:
    return json.dumps(given, cls=_Encoder, sort_keys=True, ensure_ascii=False)


class _Encoder(DjangoJSONEncoder):
    """Forms also clean to files and model objects; their text is what matters here."""

    def default(self, value: Any) -> Any:
        try:
            return super().default(value)
        except TypeError:
            return str(value)
