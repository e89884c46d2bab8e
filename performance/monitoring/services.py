"""The door of monitoring: the recorder is installed here, and `monitor` answers everything else."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception

from performance.core import signals
from performance.core.stores import bus
from performance.monitoring import (
    alertmanager,
    alerts_shown,
    celery_hooks,
    deploying,
    handling,
    history,
    http,
    live,
    outgoing,
    previewing,
    rendering,
    rollups,
    screens,
    wire,
)
from performance.monitoring.conf import conf
from performance.monitoring.errors import BadInput
from performance.monitoring.handling import LONGEST_PLANNED_MIN, LONGEST_SILENCE_MIN
from performance.monitoring.leading import Monitor
from performance.monitoring.models import AlertRule, AlertSilence, MuteWindow
from performance.monitoring.recorder import StreamRecorder
from performance.monitoring.stepping import State
from performance.monitoring.tokens import issue as issue_token

__all__ = [
    "LONGEST_PLANNED_MIN",
    "LONGEST_SILENCE_MIN",
    "BadInput",
    "PerformanceMonitor",
    "asgi_monitor",
    "install",
    "issue_token",
    "monitor",
    "wsgi_monitor",
]

MEASURED = frozenset({"web", "live", "worker", "beat", "monitor", "balance", "feed"})


def install() -> None:
    """Measure this process, when it is one that serves; once a process, a second call is nothing.

    A management command is not measured: its numbers would be of nobody's request.
    """
    if settings.PROCESS not in MEASURED or isinstance(signals.recorder, StreamRecorder):
        return
    if not conf().enabled:
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
        """Return every rule with its state, what holds it back, and the newest events."""
        found = live.read_now() or EMPTY
        at_s = found["at_s"]
        readings = {row["id"]: row for row in found["alerts"]}
        return {
            "second": found["second"],
            "silent_s": None if at_s is None else round(max(0.0, time.time() - at_s), 1),
            **alerts_shown.everything(readings, datetime.now(UTC)),
        }

    def acknowledge(self, rule: AlertRule) -> str:
        """Note that somebody has taken up a firing alert; raises AlertActRefused otherwise."""
        return handling.acknowledge(rule)

    def silence(self, rule: AlertRule, minutes: int, reason: str = "") -> str:
        """Send nothing about a rule for so long; 0 ends a silence. The history goes on."""
        return handling.silence(rule, minutes, reason)

    def silence_matching(self, **fields: Any) -> str:
        """Send nothing about what `rule`, `route`, `severity` and `node` match.

        From `starts_at`, or now when it is None, for `minutes`, for a `reason`.
        """
        return handling.silence_matching(**fields)

    def preview_silence(self, **fields: Any) -> str:
        """Say what such a silence would hold back, and change nothing."""
        return handling.preview_matching(**fields)

    def silences(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return silences with every field, of one state (`on`, `planned`, `over`) or of all."""
        return alerts_shown.silences_for_programs(state, datetime.now(UTC))

    def mute_windows(self) -> list[dict[str, Any]]:
        return alerts_shown.windows_for_programs(datetime.now(UTC))

    def end_silence(self, silence: AlertSilence) -> str:
        """End a silence early; raises AlertActRefused when it is over."""
        return handling.end_silence(silence)

    def preview(self, rule: AlertRule) -> previewing.Preview:
        """Return what a rule, saved or not, would have done in the last day."""
        return previewing.preview(rule)

    def deploy_files(self) -> dict[str, str]:
        """Return what Prometheus, Alertmanager and Grafana take, by path below deploy/."""
        rules = list(AlertRule.objects.filter(enabled=True).prefetch_related("inhibited_by"))
        causes = {
            rule.pk: sorted(cause.name for cause in rule.inhibited_by.all() if cause.enabled)
            for rule in rules
        }
        windows = list(MuteWindow.objects.filter(enabled=True))
        return {
            "prometheus/rules.yml": deploying.rules_yml(rules),
            "prometheus/alertmanager.yml": alertmanager.alertmanager_yml(rules, causes, windows),
            "grafana/protipp.json": deploying.grafana_json(rules),
        }


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
