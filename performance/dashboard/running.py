"""Run an act once: recorded before, recorded after, never run when it could not be recorded."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import DatabaseError, IntegrityError

from performance.core import context
from performance.core.acts import Act
from performance.core.errors import PerformanceError
from performance.dashboard import audit
from performance.dashboard.errors import AuditUnavailable, KeyTaken
from performance.dashboard.models import AuditEntry

logger = logging.getLogger(__name__)

KEY = re.compile(r"[0-9a-f]{32}")
State = AuditEntry.State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an act went. `ended` is False while another request still runs it, or was killed."""

    ok: bool
    message: str
    ended: bool = True


def run(
    act: Act,
    values: Mapping[str, Any],
    *,
    key: str,
    who: AbstractBaseUser | AnonymousUser,
    address: str,
) -> Outcome:
    """Run `act` unless a run with this `key` began before; then return that one's outcome.

    Raises AuditUnavailable (nothing was run) and KeyTaken. What the act itself raises beyond
    PerformanceError is recorded as failed, and goes on up.
    """
    line: dict[str, Any] = {
        "act": act.name,
        "run": key,
        "who": who,
        "address": address,
        "given": values,
    }
    try:
        audit.append(State.BEGAN, **line)
    except IntegrityError:
        return _earlier(act, key, who)
    except DatabaseError as error:
        raise AuditUnavailable(act.title) from error

    before = context.actor.set(who.get_username())
    try:
        message = str(act.run(**values))
    except PerformanceError as error:
        return _end(State.FAILED, str(error), line)
    except (
        Exception
    ) as error:  # a room's code may fail in any way; the audit says so, then it goes on
        _end(State.FAILED, f"{type(error).__name__}: {error}", line)
        raise
    finally:
        context.actor.reset(before)
    return _end(State.DONE, message, line)


def denied(
    act: Act, *, who: AbstractBaseUser | AnonymousUser, address: str, key: str, reason: str
) -> None:
    """Record a try that was refused; a database that is down does not turn a refusal into a 500."""
    try:
        audit.append(
            State.DENIED, act=act.name, run=key, who=who, address=address, given={}, result=reason
        )
    except DatabaseError:
        logger.exception("A denied try of %s by %s could not be audited", act.name, who)


def outcome(key: str) -> Outcome | None:
    """Return how the run `key` went; None when no run has it."""
    ended = audit.end_of(key)
    if ended is not None:
        return Outcome(ended.state == State.DONE, ended.result)
    if audit.begin_of(key) is None:
        return None
    return Outcome(
        False,
        "It was begun and has not ended: it still runs, or its process was killed. "
        "Reload in a moment; look at what it changes before you start it again.",
        ended=False,
    )


def _earlier(act: Act, key: str, who: AbstractBaseUser | AnonymousUser) -> Outcome:
    begun = audit.begin_of(key)
    if begun is None or begun.act != act.name or begun.who_id != who.pk:
        raise KeyTaken(key)
    found = outcome(key)
    assert found is not None  # it has begun
    return found


def _end(state: AuditEntry.State, message: str, line: dict[str, Any]) -> Outcome:
    try:
        audit.append(state, **line, result=message)
    except DatabaseError:
        logger.exception("%s %s, but that could not be audited: %s", line["act"], state, message)
        message += " (The audit has its beginning, but its end could not be written.)"
    return Outcome(state == State.DONE, message)
