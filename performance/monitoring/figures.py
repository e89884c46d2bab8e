"""What merged numbers say: the row of numbers of a chart, and the tables under it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from performance.monitoring import wire
from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged, ProcessState, cache_outcomes, hit_ratio

QUANTILES = (0.5, 0.95, 0.99)
ENDPOINTS_SHOWN = 50
TASKS_SHOWN = 30
RED_MS, RED_ERROR_RATIO = 100.0, 0.02
"""As the seeded rules have it."""


def point(merged: Merged, *, sequence: int, at_s: int, span_s: float = 1.0) -> wire.Point:
    """Reduce a span to numbers; what was not measured is None, never 0."""
    requests, errors = _requests(merged)
    p50, p95, p99 = requests.percentiles(QUANTILES)
    queries = merged.of_kind("sql")
    ages = merged.of_kind("price_age")
    age_p50, age_p95 = ages.percentiles((0.5, 0.95))
    memory = [value for (kind, _), value in merged.gauges.items() if kind == "memory"]
    depth = [value for (kind, _), value in merged.gauges.items() if kind == "queue"]
    return wire.Point(
        sequence=sequence,
        at_s=at_s,
        span_s=span_s,
        requests=requests.n,
        errors=errors,
        p50_ms=ms(p50),
        p95_ms=ms(p95),
        p99_ms=ms(p99),
        queries=queries.n,
        query_p95_ms=ms(queries.percentile(0.95)),
        cache_hit_ratio=_rounded(hit_ratio(merged), 4),
        price_age_p50_s=_rounded(age_p50, 2),
        price_age_p95_s=_rounded(age_p95, 2),
        price_age_max_s=round(ages.max_us / 1e6, 2) if ages.n else None,
        memory_bytes=int(sum(memory)) if memory else None,
        queue_depth=int(sum(depth)) if depth else None,
        dropped=merged.counts.get(("recorder", "dropped"), 0),
    )


def endpoints(merged: Merged, span_s: float) -> list[dict[str, Any]]:
    """Return one row a route and method, the most time-consuming first."""
    routes: dict[str, Histogram] = {}
    errors: dict[str, int] = {}
    for (kind, key, status), histogram in merged.series.items():
        if kind == "request":
            routes.setdefault(key, Histogram()).merge(histogram)
            if status == "5xx":
                errors[key] = errors.get(key, 0) + histogram.n
    all_us = sum(row.sum_us for row in routes.values())
    grown = memory_growth(merged)
    rows: list[dict[str, Any]] = [
        {
            "endpoint": key,
            "requests": row.n,
            "per_minute": round(row.n * 60 / span_s, 1) if span_s else 0.0,
            **_latency(row),
            "errors": errors.get(key, 0),
            "error_ratio": round(errors.get(key, 0) / row.n, 4),
            "time_ratio": round(row.sum_us / all_us, 4) if all_us else 0.0,
            "grown_bytes": grown.get(key, 0),
        }
        for key, row in routes.items()
    ]
    for row in rows:
        row["level"] = level(row)
    rows.sort(key=lambda row: (-row["time_ratio"], row["endpoint"]))
    return rows[:ENDPOINTS_SHOWN]


def level(row: Mapping[str, Any]) -> str:
    """Return `bad` for an endpoint that is slow or fails, `warn` for one that comes near it."""
    p95_ms, error_ratio = row["p95_ms"] or 0.0, row["error_ratio"]
    if p95_ms > RED_MS or error_ratio > RED_ERROR_RATIO:
        return "bad"
    return "warn" if p95_ms > RED_MS / 2 or error_ratio > RED_ERROR_RATIO / 2 else ""


def tasks(merged: Merged) -> list[dict[str, Any]]:
    """Return one row a Celery task: runs, failures, retries, how long it ran and waited."""
    runs: dict[str, Histogram] = {}
    waits: dict[str, Histogram] = {}
    for (kind, key, _), histogram in merged.series.items():
        if kind == "task":
            runs.setdefault(key, Histogram()).merge(histogram)
        elif kind == "task_wait":
            waits.setdefault(key, Histogram()).merge(histogram)
    rows = [
        {
            "task": name,
            "runs": run.n,
            "failed": merged.counts.get(("task_failed", name), 0),
            "retried": merged.counts.get(("task_retry", name), 0),
            "run_p95_ms": ms(run.percentile(0.95)),
            "wait_p95_ms": ms(waits[name].percentile(0.95)) if name in waits else None,
        }
        for name, run in sorted(runs.items())
    ]
    return rows[:TASKS_SHOWN]


def outgoing(merged: Merged) -> list[dict[str, Any]]:
    """Return one row a host that was asked over HTTP."""
    asked: dict[str, Histogram] = {}
    failed: dict[str, int] = {}
    for (kind, host, status), row in merged.series.items():
        if kind == "http_out":
            asked.setdefault(host, Histogram()).merge(row)
            failed[host] = failed.get(host, 0) + (row.n if status == "error" else 0)
    return [
        {"host": host, "requests": row.n, "failed": failed[host], **_latency(row)}
        for host, row in sorted(asked.items())
    ][:TASKS_SHOWN]


def beat_lateness(merged: Merged) -> float | None:
    """Return how late beat sent its entries, 95th percentile in seconds."""
    return _rounded(merged.of_kind("beat_late").percentile(0.95), 3)


def hosts(seen: Iterable[tuple[wire.Host, float]], now_s: float) -> list[dict[str, Any]]:
    rows = [
        {**msgspec.structs.asdict(host), "silent_s": round(max(0.0, now_s - seen_s))}
        for host, seen_s in seen
    ]
    return sorted(rows, key=lambda row: row["name"])


def memory_growth(merged: Merged) -> dict[str, int]:
    """Return by how many bytes the peaks of processes grew, by endpoint."""
    return {key: amount for (kind, key), amount in merged.counts.items() if kind == "memory_growth"}


def cache(merged: Merged) -> dict[str, Any]:
    """Return the outcomes over all families; the cache's own page has them one by one."""
    return {**cache_outcomes(merged), "hit_ratio": _rounded(hit_ratio(merged), 4)}


def processes(states: Iterable[ProcessState], now_s: float) -> list[dict[str, Any]]:
    rows = [
        {
            "node": state.node,
            "process": state.process,
            "pid": state.pid,
            "build": state.build,
            "memory_bytes": state.rss_bytes,
            "cpu_ratio": round(state.cpu_ratio, 3),
            "lag_ms": round(state.lag_ms, 1),
            "cost_ms": round(state.cost_ms, 2),
            "dropped": state.dropped,
            "silent_s": round(max(0.0, now_s - state.heard_s)),
        }
        for state in states
    ]
    return sorted(rows, key=lambda row: (row["node"], row["pid"]))


def _requests(merged: Merged) -> tuple[Histogram, int]:
    total, errors = Histogram(), 0
    for (kind, _, status), histogram in merged.series.items():
        if kind == "request":
            total.merge(histogram)
            if status == "5xx":
                errors += histogram.n
    return total, errors


def _latency(row: Histogram) -> dict[str, float | None]:
    p50, p95, p99 = row.percentiles(QUANTILES)
    return {"p50_ms": ms(p50), "p95_ms": ms(p95), "p99_ms": ms(p99)}


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
