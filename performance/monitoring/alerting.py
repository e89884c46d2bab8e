"""Alerts on their way: watched in memory each second, kept in PostgreSQL when they change.

Watching needs no server, so an alert also fires while PostgreSQL is away; what changed waits here
and is written later, in order. The history's row, the state and the messages to send are written
in one transaction, by whoever finds the state as it was: two monitors tell nobody twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from performance.core.units import format_bytes, format_ms, format_ratio
from performance.monitoring import burning, telling, usual
from performance.monitoring.gauging import Reading
from performance.monitoring.models import AlertEvent, AlertRule, AlertState
from performance.monitoring.stepping import Standing, State, Thresholds, event_between, step

CHANGES_KEPT = 500
LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Change:
    """One move of one alert, to be written."""

    rule: AlertRule
    before: State
    after: State
    value: float | None
    subject: str
    at: datetime


def thresholds(rule: AlertRule) -> Thresholds:
    return Thresholds(
        above=rule.comparison == AlertRule.Comparison.ABOVE,
        fire_at=rule.fire_at,
        clear_at=rule.clear_at,
        for_s=rule.for_s,
        keep_firing_s=rule.keep_firing_s,
        no_data=rule.no_data,
    )


class Watch:
    """All rules and where they stand. One thread looks, another loads and saves."""

    def __init__(self) -> None:
        self.rules: dict[int, AlertRule] = {}
        self.readings: dict[int, Reading] = {}
        self.changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self.budgets = burning.Budgets()
        self.usual = usual.Usual()
        self._standing: dict[int, Standing] = {}

    def load(self, *, now_s: float) -> None:
        """Read the rules, and the standing of those that are new here; two queries.

        New rules about budgets and about what is usual read days and weeks, once.
        """
        rules = {rule.pk: rule for rule in AlertRule.objects.filter(enabled=True)}
        stored = AlertState.objects.in_bulk([pk for pk in rules if pk not in self._standing])
        wall = datetime.now(UTC)
        for pk in rules:
            if pk in self._standing:
                continue
            state = stored.get(pk)
            # What a restart must not do is to begin the waiting anew: the clock goes on.
            held_s = (wall - state.since).total_seconds() if state else 0.0
            self._standing[pk] = Standing(
                State(state.state) if state else State.OK,
                now_s - min(max(held_s, 0.0), LONGEST_S),
            )
        for pk in self._standing.keys() - rules.keys():
            self._standing.pop(pk, None)
            self.readings.pop(pk, None)
        self.budgets.follow(rules)
        self.usual.follow(rules)
        self.rules = rules

    def look(self, read: Callable[[AlertRule], Reading], *, now_s: float) -> None:
        """Take one step of every rule; changes are queued for `save`."""
        for pk, rule in self.rules.items():
            before = self._standing.get(pk)
            if before is None:
                continue
            reading = self.readings[pk] = read(rule)
            after = self._standing[pk] = step(thresholds(rule), before, reading.value, now_s)
            if after.state != before.state:
                self.changes.append(
                    Change(rule, before.state, after.state, *reading, datetime.now(UTC))
                )

    def save(self) -> int:
        """Write the queued changes in their order; a failure leaves the rest queued."""
        saved = 0
        while self.changes:
            change = self.changes[0]
            if not keep(change):
                # What is stored says otherwise; `load` takes the rule up from there.
                self._standing.pop(change.rule.pk, None)
            self.changes.popleft()
            saved += 1
        return saved

    def rows(self, *, now_s: float) -> list[dict[str, Any]]:
        """Return what pages show of each rule, the worst first."""
        order = [State.FIRING, State.RESOLVING, State.NO_DATA, State.PENDING, State.OK]
        rows: list[dict[str, Any]] = []
        for pk, rule in self.rules.items():
            standing = self._standing.get(pk, Standing())
            reading = self.readings.get(pk, Reading(None, ""))
            rows.append(
                {
                    "id": pk,
                    "name": rule.name,
                    "state": str(standing.state),
                    "severity": rule.severity,
                    "for_s": round(now_s - standing.since_s),
                    "value": reading.value,
                    "value_text": in_words(rule, reading.value),
                    "limit_text": in_words(rule, rule.fire_at),
                    "comparison": rule.comparison,
                    "subject": reading.subject,
                }
            )
        rows.sort(key=lambda row: (order.index(State(row["state"])), row["name"]))
        return rows


def keep(change: Change) -> bool:
    """Write one change; False when the state is no longer what it was: somebody else wrote it."""
    rule = change.rule
    with transaction.atomic():
        if not AlertRule.objects.filter(pk=rule.pk).exists():
            return False  # deleted meanwhile
        AlertState.objects.get_or_create(rule_id=rule.pk, defaults={"state": change.before})
        moved = AlertState.objects.filter(rule_id=rule.pk, state=change.before).update(
            state=change.after, since=change.at, value=change.value, **_about(change)
        )
        if not moved:
            return False
        event = event_between(change.before, change.after)
        telling.note(change.rule, change.after, _row(change, event) if event else None)
    return True


def _about(change: Change) -> dict[str, str]:
    """One alarm stays about what it began with, so that a silence of that holds to its end."""
    if change.after == State.OK or change.before in (State.FIRING, State.RESOLVING):
        return {}
    return {"subject": change.subject[:300]}


def _row(change: Change, event: str) -> AlertEvent:
    return AlertEvent(
        rule=change.rule,
        at=change.at,
        event=event,
        value=change.value,
        subject=change.subject[:300],
        text=sentence(change, event)[:500],
    )


def sentence(change: Change, event: str) -> str:
    """Say what happened, with the value, the limit and the unit."""
    rule, where = change.rule, f" ({change.subject})" if change.subject else ""
    match event:
        case "fired":
            return (
                f"{rule.name}: {in_words(rule, change.value)}{where}, {rule.comparison} "
                f"{in_words(rule, rule.fire_at)} for {rule.for_s} s."
            )
        case "cleared":
            return f"{rule.name}: over, now {in_words(rule, change.value)}."
        case "no_data":
            return f"{rule.name}: nothing measured for {rule.for_s} s."
        case _:
            return f"{rule.name}: measured again, {in_words(rule, change.value)}."


def in_words(rule: AlertRule, value: float | None) -> str:
    """Return a value of the rule's metric with its unit; None is `–`."""
    measure = AlertRule.Measure
    if value is None:
        return "–"
    if rule.basis == AlertRule.Basis.WEEK:
        return f"{value:+.1f} deviations"
    match rule.metric:
        case measure.RESPONSE_TIME | measure.QUERY_TIME:
            return format_ms(value)
        case measure.ERROR_RATE | measure.CACHE_HIT_RATIO | measure.EDGE_OUT:
            return format_ratio(value)
        case measure.MEMORY:
            return format_bytes(value)
        case measure.THROUGHPUT:
            return f"{value:.1f}/s"
        case measure.ERROR_BUDGET:
            return f"{value:.2f} x the budget"
        case measure.SCALING:
            return f"{value:.0f}"
        case measure.QUEUE_DEPTH:
            return f"{value:.0f} tasks"
        case _:
            return f"{value:.1f} s"


def monotonic_s() -> float:
    """The clock of alerts: a jump of the wall clock neither fires nor clears anything."""
    return time.monotonic()
