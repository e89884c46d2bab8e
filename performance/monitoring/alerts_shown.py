"""What the page of alerts and the API show: rules where they stand, what holds them back, history.

Eight queries, however many rules there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import F, Q

from performance.monitoring import alerting, silencing, telling
from performance.monitoring.models import (
    AlertEvent,
    AlertMessage,
    AlertRule,
    AlertSilence,
    AlertState,
    MuteWindow,
)
from performance.monitoring.quiet_models import Matcher
from performance.monitoring.stepping import State

EVENTS_SHOWN = 50
PAST_SILENCES_SHOWN = 5
MOST_SILENCES = 500
LEVELS = {
    State.FIRING: "bad",
    State.RESOLVING: "bad",
    State.NO_DATA: "warn",
    State.PENDING: "warn",
    State.OK: "good",
}
ORDER = [State.FIRING, State.RESOLVING, State.NO_DATA, State.PENDING, State.OK]


def everything(readings: Mapping[int, Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Return the page but for the monitor's own age. `readings` are the newest, by rule."""
    standings = AlertState.objects.in_bulk()
    silences = list(AlertSilence.objects.select_related("rule").filter(ends_at__gt=now))
    windows = list(MuteWindow.objects.select_related("rule"))
    quiet = silencing.Quiet(silences, [window for window in windows if window.enabled])
    causes = telling.inhibitors()
    events = AlertEvent.objects.select_related("rule")[:EVENTS_SHOWN]
    rules = [
        _rule_row(
            rule,
            standings.get(rule.pk),
            readings.get(rule.pk),
            quiet.hold(rule, _subject(standings.get(rule.pk)), now),
            causes.get(rule.pk, []),
        )
        for rule in AlertRule.objects.all()
    ]
    rules.sort(key=lambda row: (not row["enabled"], ORDER.index(row["state"]), row["name"]))
    return {
        "rules": rules,
        "firing": sum(row["state"] in (State.FIRING, State.RESOLVING) for row in rules),
        "pending": sum(row["state"] == State.PENDING for row in rules),
        "no_data": sum(row["state"] == State.NO_DATA for row in rules),
        "held_back": sum(bool(row["held_text"]) for row in rules),
        "silences": [_silence_row(one, now) for one in (*_soonest_first(silences), *_past(now))],
        "windows": [_window_row(window, now) for window in windows],
        "causes": _causes(causes),
        "recipients": len(telling.receivers("critical")),
        "undelivered": AlertMessage.objects.filter(sent_at=None, attempts__gt=0).count(),
        "events": [_event_row(one) for one in events],
    }


def _rule_row(
    rule: AlertRule,
    standing: AlertState | None,
    reading: Mapping[str, Any] | None,
    hold: silencing.Hold | None,
    causes: list[str],
) -> dict[str, Any]:
    state = reading["state"] if reading else (standing.state if standing else State.OK)
    return {
        "id": rule.pk,
        "name": rule.name,
        "enabled": rule.enabled,
        "severity": rule.severity,
        "state": str(state),
        "state_text": str(state).replace("_", " ") if rule.enabled else "off",
        "level": LEVELS[State(state)] if rule.enabled else "",
        "can_acknowledge": state in telling.ALARMED and not (standing and standing.acknowledged_at),
        "value_text": reading["value_text"] if reading else "–",
        "limit_text": alerting.in_words(rule, rule.fire_at),
        "comparison": rule.comparison,
        "subject": reading["subject"] if reading else "",
        "silenced_until": f"{hold.until:%H:%M}" if hold else "",
        "inhibited_by": causes,
        "taken_text": _taken(standing),
        "held_text": _held(hold, causes if state in telling.ALARMED else []),
    }


def _subject(standing: AlertState | None) -> str:
    return standing.subject if standing and standing.state in telling.ALARMED else ""


def _taken(standing: AlertState | None) -> str:
    """Say who has taken the alert up."""
    if standing is None or not standing.acknowledged_at:
        return ""
    return f"by {standing.acknowledged_by or 'somebody'} {standing.acknowledged_at:%H:%M}"


def _held(hold: silencing.Hold | None, causes: list[str]) -> str:
    """Say why nobody is told of the alert; empty when everybody is."""
    said = []
    if causes:
        said.append(f"a consequence of {', '.join(causes)}")
    if hold:
        said.append(f"{hold.text} (until {_moment(hold.until)})")
    return "; ".join(said)


def _soonest_first(silences: list[AlertSilence]) -> list[AlertSilence]:
    return sorted(silences, key=lambda one: (one.starts_at, one.ends_at))


def _past(now: datetime) -> list[AlertSilence]:
    rows = AlertSilence.objects.select_related("rule").filter(ends_at__lte=now)
    return list(rows[:PAST_SILENCES_SHOWN])


def _silence_row(silence: AlertSilence, now: datetime) -> dict[str, Any]:
    state = silencing.state_of(silence, now)
    return {
        "id": silence.pk,
        "what": silence.in_words(),
        "state": f"ended by {silence.ended_by}" if silence.ended_by else state,
        "level": {"on": "info", "planned": "warn"}.get(state, ""),
        "starts_at": _moment(silence.starts_at),
        "ends_at": _moment(silence.ends_at),
        "reason": silence.reason,
        "by": silence.by,
        "can_end": state != "over",
    }


def _window_row(window: MuteWindow, now: datetime) -> dict[str, Any]:
    until = silencing.end_of_window(window, now) if window.enabled else None
    if not window.enabled:
        state = "off"
    elif until is not None:
        state = f"open until {_moment(until)}"
    else:
        state = f"opens {_moment(silencing.next_window(window, now))}"
    return {
        "id": window.pk,
        "name": window.name,
        "what": window.in_words(),
        "when": window.when_in_words(),
        "state": state,
        "level": "info" if until is not None else "",
    }


def _causes(firing: Mapping[int, list[str]]) -> list[dict[str, Any]]:
    """Return each rule that has causes, with those and which of them fire now."""
    pairs = (
        AlertRule.inhibited_by.through.objects.order_by(
            "from_alertrule__name", "to_alertrule__name"
        )
        .filter(from_alertrule__enabled=True, to_alertrule__enabled=True)
        .values_list(F("from_alertrule_id"), "from_alertrule__name", "to_alertrule__name")
    )
    found: dict[int, dict[str, Any]] = {}
    for rule_id, name, cause in pairs:
        row = found.setdefault(
            rule_id,
            {"id": rule_id, "name": name, "causes": [], "firing": firing.get(rule_id, [])},
        )
        row["causes"].append(cause)
    return list(found.values())


def _event_row(event: AlertEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": f"{event.at:%Y-%m-%d %H:%M:%S}",
        "rule": event.rule.name,
        "event": event.event.replace("_", " "),
        "text": event.text,
        "by": event.by,
    }


def silences_for_programs(state: str | None, now: datetime) -> list[dict[str, Any]]:
    """Return the silences with every field, those that end last first; at most `MOST_SILENCES`."""
    rows = AlertSilence.objects.select_related("rule")
    if state is not None:
        rows = rows.filter(
            {
                "on": Q(starts_at__lte=now, ends_at__gt=now),
                "planned": Q(starts_at__gt=now),
                "over": Q(ends_at__lte=now),
            }[state]
        )
    return [
        {
            "id": row.pk,
            "state": silencing.state_of(row, now),
            **_matcher(row),
            "starts_at": row.starts_at,
            "ends_at": row.ends_at,
            "reason": row.reason,
            "by": row.by,
            "ended_by": row.ended_by,
        }
        for row in rows[:MOST_SILENCES]
    ]


def windows_for_programs(now: datetime) -> list[dict[str, Any]]:
    """Return the mute windows with every field, and until when each is open."""
    return [
        {
            "id": row.pk,
            "name": row.name,
            **_matcher(row),
            "weekdays": row.days,
            "begins": f"{row.begins:%H:%M}",
            "ends": f"{row.ends:%H:%M}",
            "zone": row.zone,
            "enabled": row.enabled,
            "open_until": silencing.end_of_window(row, now) if row.enabled else None,
        }
        for row in MuteWindow.objects.select_related("rule")
    ]


def _matcher(row: Matcher) -> dict[str, Any]:
    return {
        "rule_id": row.rule_id,
        "rule": row.rule.name if row.rule is not None else "",
        "route": row.route,
        "severity": row.severity,
        "node": row.node,
    }


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
