"""What Prometheus and Grafana take, made from the alert rules. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from performance.monitoring import promql
from performance.monitoring.models import AlertRule

MADE_BY = "Made by `manage.py export_rules` from the alert rules; edit those, not this file."
PAST_WEEKS = "What is usual is of eight weeks: keep them, --storage.tsdb.retention.time=60d."
NO_DATA = " without data"
Measure = AlertRule.Measure
UNITS = {
    Measure.RESPONSE_TIME: "ms",
    Measure.QUERY_TIME: "ms",
    Measure.ERROR_RATE: "percentunit",
    Measure.THROUGHPUT: "reqps",
    Measure.CACHE_HIT_RATIO: "percentunit",
    Measure.PRICE_AGE: "s",
    Measure.MEMORY: "bytes",
    Measure.QUEUE_DEPTH: "short",
    Measure.NODE_SILENCE: "s",
    Measure.EDGE_OUT: "percentunit",
    Measure.SCALING: "short",
}
OVERVIEW = (
    ("Requests a second", "reqps", (
        ("{{status}}", "sum by (status) (rate(protipp_request_duration_seconds_count[1m]))"),
    )),
    ("Response time", "s", tuple(
        (f"p{share * 100:g}",
         f"histogram_quantile({share}, "
         "sum by (le) (rate(protipp_request_duration_seconds_bucket[1m])))")
        for share in (0.5, 0.95, 0.99)
    )),
    ("Memory by node", "bytes", (
        ("{{node}}", "sum by (node) (protipp_process_memory_bytes)"),
    )),
    ("What the monitor is behind", "s", (
        ("monitor", "protipp_monitor_silent_seconds"),
    )),
)  # fmt: skip


def rules_yml(rules: Iterable[AlertRule]) -> str:
    """Return Prometheus's rules file. Strings are JSON, which YAML holds; the order is by name."""
    lines, left_out, usual = [], [], []
    for rule in sorted(rules, key=lambda one: one.name):
        try:
            lines += _rule(rule, promql.expression(rule))
        except promql.Unsayable as error:
            left_out.append(f"# Left out: {rule.name}, because {error}.")
            continue
        if rule.no_data == AlertRule.NoData.ALERT:
            lines += _rule(rule, f"absent({promql.value(rule)})", suffix=NO_DATA)
        if rule.basis == AlertRule.Basis.WEEK:
            usual.append(rule)
    # What is usual is recorded first: the rules of a group are evaluated in their order.
    lines = [*_usual(usual), *lines]
    head = [f"# {MADE_BY}", "groups:", "  - name: protipp", "    rules:"]
    return "\n".join([*head, *lines, *left_out]) + "\n"


def _usual(rules: list[AlertRule]) -> list[str]:
    lines = [f"      # {PAST_WEEKS}"] if rules else []
    for name, expression, labels in promql.usual_records(rules):
        lines += [f"      - record: {name}", f"        expr: {json.dumps(expression)}"]
        if labels:
            lines.append(f"        labels: {json.dumps(labels)}")
    return lines


def _rule(rule: AlertRule, expression: str, *, suffix: str = "") -> list[str]:
    text = f"{rule.name}{suffix}"
    keep = [f"        keep_firing_for: {rule.keep_firing_s}s"] if rule.keep_firing_s else []
    return [
        f"      - alert: {json.dumps(text)}",
        f"        expr: {json.dumps(expression)}",
        f"        for: {rule.for_s}s",
        *keep,
        f"        labels: {{severity: {rule.severity}, metric: {rule.metric}}}",
        f"        annotations: {{summary: {json.dumps(text + ': {{ $value }}')}}}",
    ]


def grafana_json(rules: Iterable[AlertRule]) -> str:
    """Return Grafana's dashboard: an overview, then a panel a rule with its limit drawn in."""
    panels = [_panel(title, unit, lines, None) for title, unit, lines in OVERVIEW]
    for rule in sorted(rules, key=lambda one: one.name):
        try:
            promql.expression(rule)
        except promql.Unsayable:
            continue
        if rule.metric in UNITS and rule.basis == AlertRule.Basis.VALUE:
            unit, lines = UNITS[Measure(rule.metric)], (("", promql.value(rule)),)
            panels.append(_panel(rule.name, unit, lines, rule))
    for number, panel in enumerate(panels):
        panel |= {
            "id": number + 1,
            "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        }
    board = {
        "uid": "protipp",
        "title": "ProTipp",
        "description": MADE_BY,
        "tags": ["protipp"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _panel(
    title: str, unit: str, lines: Iterable[tuple[str, str]], rule: AlertRule | None
) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    defaults: dict[str, Any] = {"unit": unit, "custom": {"thresholdsStyle": {"mode": "off"}}}
    if rule is not None:
        above = rule.comparison == AlertRule.Comparison.ABOVE
        low, high = ("green", "red") if above else ("red", "green")
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": low, "value": None}, {"color": high, "value": rule.fire_at}],
        }
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(65 + place), "datasource": source, "expr": line, "legendFormat": name}
            for place, (name, line) in enumerate(lines)
        ],
    }
