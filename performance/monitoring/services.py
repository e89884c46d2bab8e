"""The door of monitoring: the recorder is installed here, and `monitor` answers everything else."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception
from django.db import transaction

from performance.core import context, signals
from performance.core.stores import bus
from performance.monitoring import (
    alerting,
    celery_hooks,
    deploying,
    history,
    http,
    live,
    outgoing,
    previewing,
    rendering,
    rollups,
    screens,
    telling,
    wire,
)
from performance.monitoring.conf import conf
from performance.monitoring.errors import AlertActRefused, BadInput
from performance.monitoring.leading import Monitor
from performance.monitoring.models import AlertEvent, AlertMessage, AlertRule, AlertState
from performance.monitoring.recorder import StreamRecorder
from performance.monitoring.stepping import State
from performance.monitoring.tokens import issue as issue_token

__all__ = [
    "BadInput",
    "PerformanceMonitor",
    "asgi_monitor",
    "install",
    "issue_token",
    "monitor",
    "wsgi_monitor",
]

MEASURED = frozenset({"web", "live", "worker", "beat", "monitor", "balance", "feed"})
EVENTS_SHOWN = 50
ALARMED = (State.FIRING, State.RESOLVING, State.NO_DATA)
LEVELS = {
    State.FIRING: "bad",
    State.RESOLVING: "bad",
    State.NO_DATA: "warn",
    State.PENDING: "warn",
    State.OK: "good",
}
LONGEST_SILENCE_MIN = 7 * 24 * 60


def install() -> None:
    """Measure this process, when it is one that serves; once a process, a second call is nothing.

    A management command is not measured: its numbers would be of nobody's request.
    """
    if settings.PROCESS not in MEASURED or isinstance(signals.recorder, StreamRecorder):
        return
    recorder = StreamRecorder(node=settings.NODE_ID, process=settings.PROCESS, bus=bus, conf=conf())
    signals.install(recorder)
    celery_hooks.connect(recorder)
    outgoing.install()
    rendering.install()
    got_request_exception.connect(
        http.remember_exception, dispatch_uid="performance.monitoring.exception"
    )
    atexit.register(recorder.stop)
    recorder.start()


def wsgi_monitor(application: http.WsgiApplication) -> http.WsgiApplication:
    """Wrap a WSGI application so that its requests are counted; itself where nobody records."""
    recorder = signals.recorder
    if not isinstance(recorder, StreamRecorder):
        return application
    return http.wsgi_monitor(application, recorder)


def asgi_monitor(application: http.AsgiApplication) -> http.AsgiApplication:
    """Wrap an ASGI application so that its HTTP requests are counted."""
    recorder = signals.recorder
    if not isinstance(recorder, StreamRecorder):
        return application
    return http.asgi_monitor(application, recorder)


class PerformanceMonitor:
    """What the whole platform does, now and before. Everything is measured; nothing is made up."""

    def run_monitor(self, stop: threading.Event) -> None:
        """Merge, keep, watch and push until `stop` is set; stands by while another leads."""
        Monitor(stop).run()

    def overview(self) -> dict[str, Any]:
        """Return the page: tables of the last minute, and 15 minutes of seconds.

        Two reads of the bus and one query. Raises redis.RedisError when the bus is away.
        """
        points = live.read_points(conf().seconds_kept)
        return {**self.newest(), "series": history.columns(points)}

    def newest(self) -> dict[str, Any]:
        """Return the newest second and the last minute's tables: what watchers hear."""
        found = live.read_now() or EMPTY
        alerts = found["alerts"]
        at_s = found["at_s"]
        return {
            **{name: value for name, value in found.items() if name != "alerts"},
            "firing": sum(row["state"] in (State.FIRING, State.RESOLVING) for row in alerts),
            "silent_s": None if at_s is None else round(max(0.0, time.time() - at_s), 1),
        }

    def chosen(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what the page's address asks for; see screens.py."""
        return screens.choose(query)

    def prune(self) -> list[str]:
        """Drop what is older than the conf says; return the dropped partitions' names."""
        return rollups.prune(datetime.now(UTC))

    # --- alerts ---------------------------------------------------------------------------------

    def alerts(self) -> dict[str, Any]:
        """Return every rule with its state, and the newest events; five queries and one read."""
        found = live.read_now() or EMPTY
        readings = {row["id"]: row for row in found["alerts"]}
        standings = AlertState.objects.in_bulk()
        now = datetime.now(UTC)
        rules = [
            _alert_row(rule, standings.get(rule.pk), readings.get(rule.pk), now)
            for rule in AlertRule.objects.all()
        ]
        order = [State.FIRING, State.RESOLVING, State.NO_DATA, State.PENDING, State.OK]
        rules.sort(key=lambda row: (not row["enabled"], order.index(row["state"]), row["name"]))
        events = AlertEvent.objects.select_related("rule")[:EVENTS_SHOWN]
        at_s = found["at_s"]
        return {
            "second": found["second"],
            "silent_s": None if at_s is None else round(max(0.0, time.time() - at_s), 1),
            "rules": rules,
            "firing": sum(row["state"] in (State.FIRING, State.RESOLVING) for row in rules),
            "pending": sum(row["state"] == State.PENDING for row in rules),
            "no_data": sum(row["state"] == State.NO_DATA for row in rules),
            "silenced": sum(bool(row["silenced_until"]) for row in rules),
            "recipients": len(telling.receivers("critical")),
            "undelivered": AlertMessage.objects.filter(sent_at=None, attempts__gt=0).count(),
            "events": [
                {
                    "id": event.pk,
                    "at": f"{event.at:%Y-%m-%d %H:%M:%S}",
                    "rule": event.rule.name,
                    "event": event.event,
                    "text": event.text,
                    "by": event.by,
                }
                for event in events
            ],
        }

    def acknowledge(self, rule: AlertRule) -> str:
        """Note that somebody has taken up a firing alert; raises AlertActRefused otherwise."""
        with transaction.atomic():
            taken = AlertState.objects.filter(rule=rule, state__in=ALARMED).update(
                acknowledged_by=context.actor.get(), acknowledged_at=datetime.now(UTC)
            )
            if not taken:
                raise AlertActRefused(
                    f"{rule.name} is not firing: there is nothing to acknowledge."
                )
            self._note(rule, "acknowledged", f"{rule.name}: acknowledged.")
        return f"{rule.name} is acknowledged."

    def silence(self, rule: AlertRule, minutes: int) -> str:
        """Send nothing about a rule for so long; 0 ends a silence. The history goes on."""
        if not 0 <= minutes <= LONGEST_SILENCE_MIN:
            raise AlertActRefused(
                f"minutes is {minutes}; it must lie between 0 and {LONGEST_SILENCE_MIN} (7 days)."
            )
        until = datetime.now(UTC) + timedelta(minutes=minutes) if minutes else None
        text = f"silenced until {until:%H:%M} UTC" if until else "no longer silenced"
        with transaction.atomic():
            AlertState.objects.update_or_create(
                rule=rule,
                defaults={"silenced_until": until, "silenced_by": context.actor.get()},
            )
            self._note(rule, "silenced", f"{rule.name}: {text}.")
        return f"{rule.name} is {text}."

    def preview(self, rule: AlertRule) -> previewing.Preview:
        """Return what a rule, saved or not, would have done in the last day."""
        return previewing.preview(rule)

    def deploy_files(self) -> dict[str, str]:
        """Return what Prometheus and Grafana take, by path below deploy/; one query."""
        rules = list(AlertRule.objects.filter(enabled=True))
        return {
            "prometheus/rules.yml": deploying.rules_yml(rules),
            "grafana/protipp.json": deploying.grafana_json(rules),
        }

    @staticmethod
    def _note(rule: AlertRule, event: str, text: str) -> None:
        AlertEvent.objects.create(rule=rule, event=event, text=text, by=context.actor.get())


monitor = PerformanceMonitor()

_NO_POINT = dict.fromkeys(wire.Point.__struct_fields__) | {"span_s": 1.0}
EMPTY: dict[str, Any] = {
    "second": 0,
    "at_s": None,
    "latest": _NO_POINT,
    "minute": _NO_POINT,
    "window_s": 0,
    "endpoints": [],
    "tasks": [],
    "cache": {"hit": 0, "l1": 0, "stale": 0, "miss": 0, "hit_ratio": None},
    "processes": [],
    "hosts": [],
    "outgoing": [],
    "beat_late_p95_s": None,
    "alerts": [],
    "monitor": dict.fromkeys(
        ("lag_ms", "cost_ms", "series", "folded", "undecodable", "minutes_waiting", "minutes_lost")
    ),
}
"""What is shown until a monitor has written its first second."""


def _alert_row(
    rule: AlertRule,
    standing: AlertState | None,
    reading: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    state = reading["state"] if reading else (standing.state if standing else State.OK)
    until = standing.silenced_until if standing else None
    silenced = until if until and until > now else None
    return {
        "id": rule.pk,
        "name": rule.name,
        "enabled": rule.enabled,
        "severity": rule.severity,
        "state": str(state),
        "state_text": str(state).replace("_", " ") if rule.enabled else "off",
        "level": LEVELS[State(state)] if rule.enabled else "",
        "can_acknowledge": state in ALARMED and not (standing and standing.acknowledged_at),
        "value_text": reading["value_text"] if reading else "–",
        "limit_text": alerting.in_words(rule, rule.fire_at),
        "comparison": rule.comparison,
        "subject": reading["subject"] if reading else "",
        "silenced_until": f"{silenced:%H:%M}" if silenced else "",
        "taken_text": _taken(standing, silenced),
    }


def _taken(standing: AlertState | None, silenced: datetime | None) -> str:
    """Say who has taken the alert up, and until when nobody is told."""
    said = []
    if standing and standing.acknowledged_at:
        said.append(f"by {standing.acknowledged_by or 'somebody'} {standing.acknowledged_at:%H:%M}")
    if silenced:
        said.append(f"silent until {silenced:%H:%M}")
    return ", ".join(said)
