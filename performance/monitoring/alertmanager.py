"""What Alertmanager takes over of our telling: causes that hold back, and mute windows. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from performance.monitoring import silencing
from performance.monitoring.deploying import MADE_BY, NO_DATA
from performance.monitoring.models import AlertRule, MuteWindow
from performance.monitoring.quiet_models import WEEKDAYS

RECEIVER = "yours"
LONG_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MIDNIGHT = "24:00"


def alertmanager_yml(
    rules: Iterable[AlertRule], causes: Mapping[int, Sequence[str]], windows: Iterable[MuteWindow]
) -> str:
    """Return Alertmanager's configuration, as JSON, which is YAML. `causes` are names, by rule.

    Alerts of Prometheus know neither route nor node: windows that want one are left out by name.
    """
    known = sorted(rules, key=lambda one: one.name)
    carried = [window for window in windows if not (window.route or window.node)]
    left_out = [window for window in windows if window.route or window.node]
    config = {
        "route": {
            "receiver": RECEIVER,
            "group_wait": "10s",
            "repeat_interval": "4h",
            "routes": [*_routes(known, carried)],
        },
        "receivers": [{"name": RECEIVER}],
        "inhibit_rules": [
            {
                "source_matchers": [_named(causes[rule.pk])],
                "target_matchers": [_named([rule.name, rule.name + NO_DATA])],
            }
            for rule in known
            if causes.get(rule.pk)
        ],
        "time_intervals": [
            {"name": window.name, "time_intervals": _intervals(window)} for window in carried
        ],
    }
    notes = [
        MADE_BY,
        f"Put who is to be told into the receiver {RECEIVER!r}. Silences are Alertmanager's own: "
        "make them there.",
        *(
            f"Left out: the mute window {window.name}, because an alert of Prometheus knows no "
            f"{'route' if window.route else 'node'}."
            for window in left_out
        ),
    ]
    text = json.dumps(config, indent=2, ensure_ascii=False)
    return "".join(f"# {note}\n" for note in notes) + text + "\n"


def _routes(rules: Iterable[AlertRule], windows: Sequence[MuteWindow]) -> Iterable[dict[str, Any]]:
    """Yield a route a rule: with a route a window, one that is open would not mute the others'."""
    for rule in rules:
        muted = [window.name for window in windows if silencing.may_match(window, rule)]
        if muted:
            matchers = [_named([rule.name, rule.name + NO_DATA])]
            yield {"matchers": matchers, "mute_time_intervals": muted}


def _named(names: Iterable[str]) -> str:
    pattern = "|".join(re.escape(name).replace(r"\ ", " ") for name in names)
    return f"alertname=~{json.dumps(pattern)}"


def _intervals(window: MuteWindow) -> list[dict[str, Any]]:
    """Alertmanager's times end within their day: what goes on past midnight becomes two."""
    days = [WEEKDAYS.index(day) for day in window.days]
    begins, ends = f"{window.begins:%H:%M}", f"{window.ends:%H:%M}"
    if begins < ends:
        parts = [(days, begins, ends)]
    else:
        parts = [(days, begins, MIDNIGHT)]
        if ends != "00:00":
            parts.append(([(day + 1) % 7 for day in days], "00:00", ends))
    return [
        {
            "weekdays": [LONG_NAMES[day] for day in sorted(on)],
            "times": [{"start_time": start, "end_time": end}],
            "location": window.zone,
        }
        for on, start, end in parts
    ]
