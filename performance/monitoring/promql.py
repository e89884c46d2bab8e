"""Alert rules as PromQL, so that Prometheus watches the same things where it is in use. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable

from performance.core.errors import PerformanceError
from performance.monitoring import usual
from performance.monitoring.burning import PAIRS
from performance.monitoring.gauging import ENOUGH, QUANTILES
from performance.monitoring.models import AlertRule

WINDOW = "1m"
HOUR, PAST = "protipp:usual:hour", "protipp:usual:past"
MIDDLE, DEVIATION = "protipp:usual:middle", "protipp:usual:deviation"
MINUTES_A_WEEK = 7 * 24 * 60
Measure = AlertRule.Measure
Value = Callable[[AlertRule, str], str]


class Unsayable(PerformanceError):
    """A rule that PromQL cannot say over what `/metrics` has; the message says why."""


def expression(rule: AlertRule) -> str:
    """Return the condition under which `rule` fires; raises Unsayable.

    What compares with past weeks reads what `usual_records` keeps.
    """
    if rule.metric == Measure.ERROR_BUDGET:
        return _burn(rule)
    sign = ">" if rule.comparison == AlertRule.Comparison.ABOVE else "<"
    condition = f"{value(rule)} {sign} {rule.fire_at:g}"
    if rule.basis == AlertRule.Basis.WEEK:
        of = f"{{rule={json.dumps(rule.name)}}}"
        distance = f"({value(rule)} - scalar({MIDDLE}{of})) / scalar({DEVIATION}{of})"
        condition = f"{distance} {sign} {rule.fire_at:g}"
    enough = _enough(rule)
    return f"({condition}) and {enough}" if enough else condition


def value(rule: AlertRule, window: str = WINDOW) -> str:
    """Return what the rule watches, in its own unit, over the last `window`."""
    return _VALUES[rule.metric](rule, window)


def usual_records(rules: Iterable[AlertRule]) -> list[tuple[str, str, dict[str, str]]]:
    """Return the recording rules, as (name, expression, labels), behind what is usual.

    The same statistics as in usual.py: median and MAD over the hour around this time of the week,
    and its neighbours, of eight weeks; fewer than six of these hours, and there is no band. The
    monitor's hours begin on the hour, these are centred on now.
    """
    found = [(HOUR, value(rule, "1h"), {"rule": rule.name}) for rule in rules]
    if not found:
        return []
    for week in range(1, usual.WEEKS + 1):
        for shift in usual.NEIGHBOURS:
            # What was recorded half an hour after a moment is of the hour around it.
            minutes = week * MINUTES_A_WEEK + 60 * shift - 30
            found.append((PAST, f"{HOUR} offset {minutes}m", {"past": f"{minutes}m"}))
    enough = f"(count by (rule) ({PAST}) >= {usual.ENOUGH})"
    found.append((MIDDLE, f"quantile by (rule) (0.5, {PAST}) and {enough}", {}))
    away = f"abs({PAST} - on (rule) group_left () {MIDDLE})"
    spread = f"quantile by (rule) (0.5, {away}) * {usual.MAD_TO_DEVIATION:g}"
    least = f"clamp_min(abs({MIDDLE}) * {usual.SMALLEST_SHARE:g}, 1e-9)"
    found.append((DEVIATION, f"({spread}) > ({least}) or ({least})", {}))
    return found


def _timed(name: str, scale: int, *, requests: bool = False) -> Value:
    def of(rule: AlertRule, window: str) -> str:
        chosen = _requests(rule) if requests else _keys(rule)
        times = f" * {scale}" if scale != 1 else ""
        share = QUANTILES.get(rule.aggregate)
        if share is None:
            total = f"sum(rate({name}_sum{_in(chosen)}[{window}]))"
            return f"{total} / sum(rate({name}_count{_in(chosen)}[{window}])){times}"
        buckets = f"sum by (le) (rate({name}_bucket{_in(chosen)}[{window}]))"
        return f"histogram_quantile({share:g}, {buckets}){times}"

    return of


def _error_rate(rule: AlertRule, window: str) -> str:
    chosen = _requests(rule)
    failed = _count([*chosen, 'status="5xx"'], window)
    # A class of answers that never was has no series: 0, and not nothing.
    return f"({failed} or vector(0)) / {_count(chosen, window)}"


def _throughput(rule: AlertRule, window: str) -> str:
    return _count(_requests(rule), window)


def _hit_ratio(rule: AlertRule, window: str) -> str:
    def events(outcomes: str) -> str:
        chosen = f'kind="cache", key=~".*:({outcomes})"'
        return f"sum(rate(protipp_events_total{{{chosen}}}[{window}]))"

    return f"1 - ({events('miss')} or vector(0)) / {events('hit|l1|stale|miss')}"


def _edge_out(rule: AlertRule, window: str) -> str:
    def probes(states: str) -> str:
        chosen = f'kind="edge", key=~"probe:({states})"'
        return f"sum(rate(protipp_events_total{{{chosen}}}[{window}]))"

    return f"({probes('out')} or vector(0)) / {probes('ok|out')}"


def _gauge(inner: str, label: str) -> Value:
    def of(rule: AlertRule, window: str) -> str:
        extreme = "max" if rule.comparison == AlertRule.Comparison.ABOVE else "min"
        newest = f"{extreme}({inner % _in(_matchers(rule, label), bare=True)})"
        return newest if window == WINDOW else f"avg_over_time(({newest})[{window}:1m])"

    return of


_VALUES: dict[str, Value] = {
    Measure.RESPONSE_TIME: _timed("protipp_request_duration_seconds", 1000, requests=True),
    Measure.QUERY_TIME: _timed("protipp_query_duration_seconds", 1000),
    Measure.PRICE_AGE: _timed("protipp_price_age_seconds", 1),
    Measure.ERROR_RATE: _error_rate,
    Measure.THROUGHPUT: _throughput,
    Measure.CACHE_HIT_RATIO: _hit_ratio,
    Measure.MEMORY: _gauge("sum by (node) (protipp_process_memory_bytes{%s})", "node"),
    Measure.QUEUE_DEPTH: _gauge('protipp_gauge{kind="queue", %s}', "key"),
    Measure.EDGE_OUT: _edge_out,
    Measure.SCALING: _gauge('protipp_gauge{kind="scaling", %s}', "key"),
    Measure.NODE_SILENCE: _gauge("protipp_node_silent_seconds{%s}", "node"),
}


def _burn(rule: AlertRule) -> str:
    assert rule.objective is not None
    pairs = []
    for factor, *windows in PAIRS[rule.burn]:
        limit = f"{factor * (1 - rule.objective):g}"
        burns = [f"{_bad_ratio(rule, _span(minutes))} > {limit}" for minutes in windows]
        pairs.append(f"({burns[0]} and {burns[1]})")
    return " or ".join(pairs)


def _bad_ratio(rule: AlertRule, window: str) -> str:
    chosen = _requests(rule)
    total = _count(chosen, window)
    if rule.slow_ms is None:
        failed = _count([*chosen, 'status="5xx"'], window)
        return f"({failed} or vector(0)) / {total}"
    # Bounds of classic buckets are powers of two: the next one up counts as good too.
    bound = 2.0 ** math.ceil(math.log2(rule.slow_ms / 1000))
    good = ", ".join([*chosen, 'status!="5xx"', f'le="{bound}"'])
    return f"1 - sum(rate(protipp_request_duration_seconds_bucket{{{good}}}[{window}])) / {total}"


def _span(minutes: int) -> str:
    return f"{minutes // 1440}d" if minutes >= 1440 else f"{minutes}m"


def _count(matchers: list[str], window: str) -> str:
    return f"sum(rate(protipp_request_duration_seconds_count{_in(matchers)}[{window}]))"


def _enough(rule: AlertRule) -> str:
    """The same least number of measurements as the monitor wants."""
    names = {
        Measure.RESPONSE_TIME: ("protipp_request_duration_seconds_count", _requests),
        Measure.ERROR_RATE: ("protipp_request_duration_seconds_count", _requests),
        Measure.QUERY_TIME: ("protipp_query_duration_seconds_count", _keys),
        Measure.PRICE_AGE: ("protipp_price_age_seconds_count", _keys),
    }
    if rule.metric not in names:
        return ""
    name, matchers = names[Measure(rule.metric)]
    return f"sum(increase({name}{_in(matchers(rule))}[{WINDOW}])) >= {ENOUGH}"


def _in(matchers: list[str], *, bare: bool = False) -> str:
    text = ", ".join(matchers)
    if bare:
        return text
    return f"{{{text}}}" if text else ""


def _keys(rule: AlertRule) -> list[str]:
    return _matchers(rule, "key")


def _matchers(rule: AlertRule, label: str) -> list[str]:
    wanted, unwanted = _patterns(rule)
    found = []
    if wanted:
        found.append(f"{label}=~{_regex(wanted)}")
    if unwanted:
        found.append(f"{label}!~{_regex(unwanted)}")
    return found


def _requests(rule: AlertRule) -> list[str]:
    """Say patterns of `GET api/*` by the two labels that the key has become."""
    wanted, unwanted = _patterns(rule)
    found = []
    for patterns, sign in ((wanted, "=~"), (unwanted, "!~")):
        if not patterns:
            continue
        pairs = [pattern.partition(" ") for pattern in patterns]
        methods = {method for method, _, _ in pairs}
        if any(not route for _, _, route in pairs) or len(methods) > 1:
            raise Unsayable(f"its selector {rule.selector!r} mixes methods or names no route")
        method = methods.pop()
        if method != "*" and sign == "!~":
            raise Unsayable(f"its selector {rule.selector!r} leaves out one method of a route")
        if method != "*":
            found.append(f"method=~{_regex([method])}")
        found.append(f"route{sign}{_regex([route for _, _, route in pairs])}")
    return found


def _patterns(rule: AlertRule) -> tuple[list[str], list[str]]:
    patterns = [pattern.strip() for pattern in rule.selector.split(",") if pattern.strip()]
    return (
        [pattern for pattern in patterns if pattern[0] != "!"],
        [pattern[1:].strip() for pattern in patterns if pattern[0] == "!"],
    )


def _regex(globs: list[str]) -> str:
    """Prometheus anchors both ends by itself."""
    parts = [re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs]
    return json.dumps("|".join(part.replace(r"\ ", " ") for part in parts))
