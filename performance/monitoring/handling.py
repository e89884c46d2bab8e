"""What staff do about alerts: take them up, silence them, end a silence. Each says what it did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from performance.core import context
from performance.monitoring import silencing, telling
from performance.monitoring.errors import AlertActRefused
from performance.monitoring.models import AlertEvent, AlertRule, AlertSilence, AlertState
from performance.monitoring.quiet_models import LONGEST_SILENCE

LONGEST_SILENCE_MIN = 7 * 24 * 60
LONGEST_PLANNED_MIN = int(LONGEST_SILENCE.total_seconds() // 60)
NO_REASON = "no reason given"


def acknowledge(rule: AlertRule) -> str:
    """Note that somebody has taken up a firing alert; raises AlertActRefused otherwise."""
    with transaction.atomic():
        taken = AlertState.objects.filter(rule=rule, state__in=telling.ALARMED).update(
            acknowledged_by=context.actor.get(), acknowledged_at=datetime.now(UTC)
        )
        if not taken:
            raise AlertActRefused(f"{rule.name} is not firing: there is nothing to acknowledge.")
        _note(rule, "acknowledged", f"{rule.name}: acknowledged.")
    return f"{rule.name} is acknowledged."


def silence(rule: AlertRule, minutes: int, reason: str = "") -> str:
    """Tell nobody of a rule for so long from now; 0 ends its silences. The history goes on.

    Silences that match more than this rule alone are left as they are.
    """
    if not 0 <= minutes <= LONGEST_SILENCE_MIN:
        raise AlertActRefused(
            f"minutes is {minutes}; it must lie between 0 and {LONGEST_SILENCE_MIN} (7 days)."
        )
    now = datetime.now(UTC)
    until = now + timedelta(minutes=minutes)
    text = f"silenced until {until:%Y-%m-%d %H:%M} UTC" if minutes else "no longer silenced"
    with transaction.atomic():
        own = AlertSilence.objects.filter(rule=rule, route="", severity="", node="")
        _end(own.filter(starts_at__lte=now), now)
        if minutes:
            AlertSilence.objects.create(
                rule=rule, starts_at=now, ends_at=until, reason=reason or NO_REASON,
                by=context.actor.get(),
            )  # fmt: skip
        _note(rule, "silenced", f"{rule.name}: {text}.")
    return f"{rule.name} is {text}."


def silence_matching(*, minutes: int, starts_at: datetime | None, **fields: Any) -> str:
    """Tell nobody of what the fields of an AlertSilence match, for so long from now or later.

    Raises AlertActRefused when it would make no sense.
    """
    made = _silence(minutes, starts_at, fields)
    with transaction.atomic():
        made.save()
        if made.rule is not None:
            _note(made.rule, "silenced", f"{made}: {made.reason}"[:500])
    return f"Nobody is told of {made.in_words()} {_span(made)}."


def preview_matching(*, minutes: int, starts_at: datetime | None, **fields: Any) -> str:
    """Say which rules such a silence would hold back, and which of them fire now."""
    asked = _silence(minutes, starts_at, fields)
    rules = AlertRule.objects.filter(enabled=True)
    meant = [rule.name for rule in rules if silencing.may_match(asked, rule)]
    alarmed = AlertState.objects.select_related("rule").filter(state__in=telling.ALARMED)
    now = [one.rule.name for one in alarmed if silencing.matches(asked, one.rule, one.subject)]
    said = f"It holds back {len(meant)} rules {_span(asked)}: {', '.join(meant) or 'none'}."
    return f"{said} Of these fire now: {', '.join(now) or 'none'}."


def end_silence(silence: AlertSilence) -> str:
    """End a silence now, or take back one that is planned; raises AlertActRefused when over."""
    now = datetime.now(UTC)
    if not _end(AlertSilence.objects.filter(pk=silence.pk), now):
        raise AlertActRefused(f"The silence of {silence.in_words()} is over already.")
    return f"The silence of {silence.in_words()} has ended."


def _end(silences: QuerySet[AlertSilence], now: datetime) -> int:
    """End what is on; what has not begun begins and ends now. Returns how many."""
    who = context.actor.get()
    open_ = silences.filter(ends_at__gt=now)
    planned = open_.filter(starts_at__gt=now).update(starts_at=now, ends_at=now, ended_by=who)
    return planned + open_.filter(starts_at__lte=now).update(ends_at=now, ended_by=who)


def _silence(minutes: int, starts_at: datetime | None, fields: dict[str, Any]) -> AlertSilence:
    begin = starts_at or datetime.now(UTC)
    made = AlertSilence(
        starts_at=begin,
        ends_at=begin + timedelta(minutes=minutes),
        by=context.actor.get(),
        **fields,
    )
    if made.ends_at <= datetime.now(UTC):
        raise AlertActRefused(f"It would end at {made.ends_at:%Y-%m-%d %H:%M} UTC, which is past.")
    try:
        made.clean()
    except ValidationError as error:
        raise AlertActRefused(" ".join(error.messages)) from None
    return made


def _span(silence: AlertSilence) -> str:
    later = silence.starts_at > datetime.now(UTC)
    begin = f"from {silence.starts_at:%Y-%m-%d %H:%M} " if later else ""
    return f"{begin}until {silence.ends_at:%Y-%m-%d %H:%M} UTC"


def _note(rule: AlertRule, event: str, text: str) -> None:
    AlertEvent.objects.create(rule=rule, event=event, text=text, by=context.actor.get())
