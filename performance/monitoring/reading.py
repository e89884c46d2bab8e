"""What the API and the exports read of one range: numbers, columns, vitals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from performance.monitoring import figures, history, live
from performance.monitoring import vitals as web_vitals
from performance.monitoring.stepping import State


def summary(name: str) -> dict[str, Any]:
    """Return a range in numbers. Raises RangeUnknown, and redis.RedisError without the bus."""
    span = _span(name)
    whole = span.whole
    point = figures.point(whole, sequence=0, at_s=0, span_s=span.length_s)
    now = live.read_now()
    firing = (State.FIRING, State.RESOLVING)
    return {
        "range": name,
        "begin": span.begin,
        "end": span.end,
        "requests": point.requests,
        "errors": point.errors,
        "error_ratio": round(point.errors / point.requests, 5) if point.requests else None,
        "requests_per_second": round(point.requests / span.length_s, 4),
        "p50_ms": point.p50_ms,
        "p95_ms": point.p95_ms,
        "p99_ms": point.p99_ms,
        "queries": point.queries,
        "query_p95_ms": point.query_p95_ms,
        "cache_hit_ratio": point.cache_hit_ratio,
        "price_age_p95_s": point.price_age_p95_s,
        "memory_bytes": point.memory_bytes,
        "firing": sum(row["state"] in firing for row in now["alerts"]) if now else None,
        "endpoints": figures.endpoints(whole, span.length_s),
    }


def series(name: str, endpoint: str | None) -> dict[str, Any]:
    """Return a range as columns: seconds of the last 15 minutes, minutes or hours beyond."""
    if name == history.LIVE and endpoint is None:
        points = live.read_points(history.LIVE_S)
        return {"range": name, "step_s": 1, **history.columns(points)}
    span = _span(name, endpoint)
    return {"range": name, "step_s": span.step_s, **history.columns(span.points())}


def vitals(name: str) -> list[dict[str, Any]]:
    return web_vitals.table(_span(name).whole)


def _span(name: str, endpoint: str | None = None) -> history.Span:
    return history.span(*history.limits_of(name, datetime.now(UTC)), endpoint=endpoint)
