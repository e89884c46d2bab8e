"""Who is to hear of an alert: messages are queued here, in the transaction of what happened.

Alertmanager's order: inhibit, silence, group, send. An alarm that nobody may hear of yet (it is
silenced, in a mute window, or a consequence of another) stays untold, and is told when that ends,
if it still fires. Its end is told to nobody who did not hear of its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from performance.monitoring import silencing
from performance.monitoring.conf import conf
from performance.monitoring.models import (
    AlertChannel,
    AlertEvent,
    AlertMessage,
    AlertRule,
    AlertState,
)
from performance.monitoring.stepping import State

ALARMED = (State.FIRING, State.RESOLVING, State.NO_DATA)
BEGINNINGS = ("fired", "no_data")


class Receiver(NamedTuple):
    kind: str
    address: str
    target: AlertChannel | None
    wait_s: int
    remind_after_s: int


def receivers(severity: str) -> list[Receiver]:
    """Return all who hear of alerts of this severity; one query."""
    mail = [
        Receiver("email", address, None, conf().group_wait_s, conf().remind_after_s)
        for address in conf().alert_recipients
    ]
    critical = severity == AlertRule.Severity.CRITICAL
    return mail + [
        Receiver(each.kind, each.address, each, each.group_wait_s, each.remind_after_s)
        for each in AlertChannel.objects.filter(enabled=True)
        if critical or not each.critical_only
    ]


def note(rule: AlertRule, after: str, event: AlertEvent | None) -> None:
    """Keep what happened to `rule`, whose state is `after` now, and queue what is to be said.

    To be called inside the transaction that moved the state.
    """
    if event is not None:
        event.save()
    state = AlertState.objects.select_for_update().get(rule=rule)
    if event is not None and event.event in BEGINNINGS:
        state.told = False
        state.save(update_fields=["told"])
        catch_up(rule_id=rule.pk)
    elif after == State.OK:
        if state.told and event is None:  # it was without data, then pending, then well
            event = AlertEvent.objects.create(
                rule=rule, event="data_back", text=f"{rule.name}: measured again, and well."
            )
        now = datetime.now(UTC)
        held = silencing.load(now).hold(rule, state.subject, now)
        if state.told and event is not None and held is None:
            _queue(event, receivers(rule.severity))
        AlertState.objects.filter(pk=state.pk).update(
            told=False, told_at=None, acknowledged_by="", acknowledged_at=None
        )


def catch_up(rule_id: int | None = None) -> int:
    """Queue the beginnings of alarms that nobody has heard of and now may be; return how many."""
    now = datetime.now(UTC)
    told = 0
    with transaction.atomic():
        states = _uninhibited().filter(told=False)
        if rule_id is not None:
            states = states.filter(rule_id=rule_id)
        for state in _unquieted(states, now):
            event = state.rule.events.filter(event__in=BEGINNINGS).first()
            if event is not None:
                _queue(event, receivers(state.rule.severity))
            AlertState.objects.filter(pk=state.pk).update(told=True, told_at=now)
            told += 1
    return told


def remind() -> int:
    """Queue reminders of alarms that still are on and nobody has taken up; return how many."""
    now = datetime.now(UTC)
    made = 0
    with transaction.atomic():
        states = _uninhibited().filter(told=True, acknowledged_at=None)
        for state in _unquieted(states, now):
            due = _due_for_reminder(state, now)
            if due:
                minutes = round((now - state.since).total_seconds() / 60)
                event = AlertEvent.objects.create(
                    rule=state.rule,
                    event="reminded",
                    value=state.value,
                    subject=state.subject,
                    text=f"{state.rule.name}: still {state.state.replace('_', ' ')}, "
                    f"for {minutes} min; nobody has acknowledged it.",
                )
                _queue(event, due)
                made += 1
    return made


def _due_for_reminder(state: AlertState, now: datetime) -> list[Receiver]:
    newest = dict(
        AlertMessage.objects.filter(event__rule_id=state.rule_id)
        .values_list("recipient")
        .annotate(Max("event__at"))
    )
    return [
        each
        for each in receivers(state.rule.severity)
        if each.remind_after_s
        and each.address in newest
        and now - newest[each.address] >= timedelta(seconds=each.remind_after_s)
    ]


def drop_held(messages: Iterable[AlertMessage]) -> set[int]:
    """Take back beginnings not sent yet that are held back by now; return their ids.

    Their cause has begun to fire meanwhile, or somebody silenced them; they are told when that is
    over. The first message of an alert waits for exactly this.
    """
    beginnings = {m.pk: m.event.rule_id for m in messages if m.event.event in BEGINNINGS}
    if not beginnings:
        return set()
    states = AlertState.objects.filter(rule_id__in=set(beginnings.values()))
    now = datetime.now(UTC)
    hearable = {state.rule_id for state in _unquieted(states.filter(~_is_inhibited()), now)}
    held = set(states.values_list("rule_id", flat=True)) - hearable
    dropped = {pk for pk, rule_id in beginnings.items() if rule_id in held}
    if dropped:
        AlertMessage.objects.filter(pk__in=dropped).delete()
        # Others may have sent it already; then they hear of it once more, as of a new alarm.
        AlertState.objects.filter(rule_id__in=held).update(told=False)
    return dropped


def inhibitors() -> dict[int, list[str]]:
    """Return the names of the causes that fire now, by the id of the rule they hold; one query."""
    found: dict[int, list[str]] = {}
    rows = _firing_causes().values_list("from_alertrule_id", "to_alertrule__name")
    for rule_id, name in rows.order_by("to_alertrule__name"):
        found.setdefault(rule_id, []).append(name)
    return found


def _uninhibited() -> QuerySet[AlertState]:
    """Alarms that are no consequence of another."""
    return AlertState.objects.filter(~_is_inhibited(), state__in=ALARMED, rule__enabled=True)


def _unquieted(states: QuerySet[AlertState], now: datetime) -> list[AlertState]:
    """Lock these states and return those that are neither silenced nor in a mute window."""
    rows = states.select_related("rule").order_by("rule_id")  # all lock in one order
    locked = list(rows.select_for_update(of=("self",)))
    quiet = silencing.load(now) if locked else silencing.Quiet()
    return [state for state in locked if quiet.hold(state.rule, state.subject, now) is None]


def _firing_causes() -> QuerySet[Any]:
    return AlertRule.inhibited_by.through.objects.filter(
        to_alertrule__enabled=True,
        to_alertrule__standing__state__in=(State.FIRING, State.RESOLVING),
    )


def _is_inhibited() -> Exists:
    return Exists(_firing_causes().filter(from_alertrule_id=OuterRef("rule_id")))


def _queue(event: AlertEvent, who: list[Receiver]) -> None:
    AlertMessage.objects.bulk_create(
        [
            AlertMessage(
                event=event,
                target=each.target,
                channel=each.kind,
                recipient=each.address,
                next_try_at=datetime.now(UTC) + timedelta(seconds=each.wait_s),
            )
            for each in who
        ],
        ignore_conflicts=True,
    )
