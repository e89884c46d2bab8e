"""The value of an alert rule, from the last minute's merged numbers. Pure; measured values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged, cache_outcomes, hit_ratio
from performance.monitoring.models import AlertRule

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ENOUGH = 20
"""Durations or reads in the minute, below which a percentile or a ratio says nothing: no data."""


class Reading(NamedTuple):
    value: float | None
    """In the metric's unit; None when nothing, or too little, was measured."""
    subject: str
    """The key that is the worst, where there are several; otherwise empty."""


NOTHING = Reading(None, "")


def read(
    rule: AlertRule, window: Merged, span_s: float, node_silence_s: Mapping[str, float]
) -> Reading:
    """Return what the rule watches, now. `node_silence_s` says how long each node is unheard."""
    measure = AlertRule.Measure
    match rule.metric:
        case measure.RESPONSE_TIME:
            return _duration(rule, _keys(rule, window, "request"), scale=1000)
        case measure.QUERY_TIME:
            return _duration(rule, _keys(rule, window, "sql"), scale=1000)
        case measure.PRICE_AGE:
            return _duration(rule, _keys(rule, window, "price_age"), scale=1)
        case measure.ERROR_RATE:
            return _error_rate(rule, window)
        case measure.THROUGHPUT:
            requests = sum(row.n for row in _keys(rule, window, "request").values())
            return Reading(requests / span_s, "") if span_s else NOTHING
        case measure.CACHE_HIT_RATIO:
            enough = sum(cache_outcomes(window).values()) >= ENOUGH
            return Reading(hit_ratio(window), "") if enough else NOTHING
        case measure.MEMORY:
            return _largest(rule, _gauges(window, "memory"))
        case measure.QUEUE_DEPTH:
            return _largest(rule, _gauges(window, "queue"))
        case measure.NODE_SILENCE:
            return _largest(rule, node_silence_s)
        case measure.EDGE_OUT:
            return _edge_out(window)
        case measure.SCALING:
            return _largest(rule, _gauges(window, "scaling"))
        case measure.ERROR_BUDGET:
            return NOTHING  # it looks at days: see burning.py
    raise ValueError(f"Alert rule {rule.name!r} has the metric {rule.metric!r}, which is unknown.")


def _duration(rule: AlertRule, rows: Mapping[str, Histogram], *, scale: int) -> Reading:
    """All matching keys taken together; the subject is the key that took the most time."""
    total = Histogram()
    for row in rows.values():
        total.merge(row)
    if total.n < ENOUGH:
        return NOTHING
    share = QUANTILES.get(rule.aggregate)
    seconds = total.mean_s if share is None else total.percentile(share)
    worst = max(rows, key=lambda key: rows[key].sum_us)
    return Reading(None if seconds is None else seconds * scale, worst)


def _error_rate(rule: AlertRule, window: Merged) -> Reading:
    total, errors, worst = 0, 0, ("", 0)
    for (kind, key, status), row in window.series.items():
        if kind != "request" or not matches(rule, key):
            continue
        total += row.n
        if status == "5xx":
            errors += row.n
            worst = max(worst, (key, row.n), key=lambda pair: pair[1])
    return Reading(errors / total, worst[0]) if total >= ENOUGH else NOTHING


def _edge_out(window: Merged) -> Reading:
    """Of the probes of the CDN those that found it out of use; nothing without a CDN."""
    out, well = (window.counts.get(("edge", f"probe:{state}"), 0) for state in ("out", "ok"))
    return Reading(out / (out + well), "") if out + well else NOTHING


def _keys(rule: AlertRule, window: Merged, kind: str) -> dict[str, Histogram]:
    rows: dict[str, Histogram] = {}
    for (its_kind, key, _), row in window.series.items():
        if its_kind == kind and matches(rule, key):
            rows.setdefault(key, Histogram()).merge(row)
    return rows


def _gauges(window: Merged, kind: str) -> dict[str, float]:
    return {key: value for (its, key), value in window.gauges.items() if its == kind}


def _largest(rule: AlertRule, values: Mapping[str, float]) -> Reading:
    """The worst of the matching keys: the lowest where the rule is about too little."""
    matching = {key: value for key, value in values.items() if matches(rule, key)}
    if not matching:
        return NOTHING
    above = rule.comparison == AlertRule.Comparison.ABOVE
    worst = (max if above else min)(matching, key=lambda key: matching[key])
    return Reading(matching[worst], worst)


def matches(rule: AlertRule, key: str) -> bool:
    """Match any of the selector's patterns, and none of those behind a `!`."""
    return selects(rule.selector, key)


def selects(selector: str, *names: str) -> bool:
    """Whether a selector takes what goes by these names: one of them is enough, for a `!` too."""
    patterns = [pattern.strip() for pattern in selector.split(",") if pattern.strip()]
    if _any_match([pattern[1:].strip() for pattern in patterns if pattern[0] == "!"], names):
        return False
    wanted = [pattern for pattern in patterns if pattern[0] != "!"]
    return not wanted or _any_match(wanted, names)


def _any_match(patterns: Iterable[str], names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
