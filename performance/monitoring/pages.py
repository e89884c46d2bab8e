from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from performance.core import acts, pages
from performance.monitoring import history, services
from performance.monitoring.models import AlertRule, AlertSilence

CHARTS = (
    ("throughput", "per_second"),
    ("latency", "p95_ms"),
    ("errors", "error_ratio"),
    ("price_age", "price_age_p95_s"),
    ("memory", "memory_bytes"),
)


@pages.register
class MonitorPage(pages.Page):
    slug = "monitor"
    title = "PerformanceMonitor"
    permission = "performance_monitoring.view_monitor"
    order = 10

    def snapshot(self) -> dict[str, Any]:
        return services.monitor.overview()

    def changes(self) -> dict[str, Any]:
        return services.monitor.newest()

    def choose(self, query: Mapping[str, str]) -> dict[str, Any]:
        chosen = services.monitor.chosen(query)
        live = chosen["is_live"]
        series = services.monitor.overview()["series"] if live else chosen["series"]
        step_s = 1 if live else chosen["step_s"]
        lines = {
            name: history.sparkline(series["times"], series[column], step_s)
            for name, column in CHARTS
        }
        return {**chosen, "sparklines": lines}


@pages.register
class AlertsPage(pages.Page):
    slug = "alerts"
    title = "Alerts"
    permission = "performance_monitoring.view_alerts"
    order = 15
    acts = ("alerts.silence_matching",)

    def snapshot(self) -> dict[str, Any]:
        return services.monitor.alerts()


class RuleForm(forms.Form):
    rule = forms.ModelChoiceField(AlertRule.objects.all())


class SilenceForm(RuleForm):
    minutes = forms.IntegerField(
        min_value=0,
        max_value=services.LONGEST_SILENCE_MIN,
        initial=60,
        help_text="0 ends a silence.",
    )
    reason = forms.CharField(max_length=300, required=False)


class SilenceMatchingForm(forms.Form):
    """Which alerts, from when and for how long; what is left empty takes all."""

    rule = forms.ModelChoiceField(AlertRule.objects.all(), required=False, empty_label="all rules")
    route = forms.CharField(
        max_length=200,
        required=False,
        help_text="Patterns with *, with commas between, of the worst route: api/* or POST api/*",
    )
    severity = forms.ChoiceField(choices=[("", "any"), *AlertRule.Severity.choices], required=False)
    node = forms.CharField(
        max_length=200, required=False, help_text="Patterns with * of the worst node: web-*"
    )
    starts_at = forms.DateTimeField(
        required=False,
        label="Begins, UTC",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty is now.",
    )
    minutes = forms.IntegerField(
        min_value=1, max_value=services.LONGEST_PLANNED_MIN, initial=120,
        help_text="How long. 1440 is a day.",
    )  # fmt: skip
    reason = forms.CharField(max_length=300)


class EndSilenceForm(forms.Form):
    silence = forms.ModelChoiceField(AlertSilence.objects.all())


acts.register(
    acts.Act(
        name="alerts.acknowledge",
        title="Acknowledge",
        permission="performance_monitoring.acknowledge_alert",
        form=RuleForm,
        run=services.monitor.acknowledge,
    )
)
acts.register(
    acts.Act(
        name="alerts.silence",
        title="Silence",
        permission="performance_monitoring.silence_alert",
        form=SilenceForm,
        run=services.monitor.silence,
    )
)
acts.register(
    acts.Act(
        name="alerts.silence_matching",
        title="Silence by matcher",
        permission="performance_monitoring.silence_alert",
        form=SilenceMatchingForm,
        run=services.monitor.silence_matching,
        preview=services.monitor.preview_silence,
    )
)
acts.register(
    acts.Act(
        name="alerts.end_silence",
        title="End a silence",
        permission="performance_monitoring.silence_alert",
        form=EndSilenceForm,
        run=services.monitor.end_silence,
    )
)
