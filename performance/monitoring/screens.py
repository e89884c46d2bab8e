"""What the address of the monitor's page chooses: a range, a zoom, a comparison, an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Avg, Count, Max, Q, Sum

from performance.monitoring import figures, history, statements, vitals
from performance.monitoring.errors import RangeUnknown
from performance.monitoring.heatmap import heatmap
from performance.monitoring.histogram import Histogram
from performance.monitoring.models import Deploy, ErrorGroup, RequestSample

SAMPLES_SHOWN = 20
PEOPLE_SHOWN = 15
ERRORS_SHOWN = 15
PARTS = ("sql_ms", "cache_ms", "http_ms", "render_ms")
COMPARED = ("per_second", "p95_ms", "error_ratio")


def choose(query: Mapping[str, str], now: datetime | None = None) -> dict[str, Any]:
    """Return all that does not move: two to nine queries, the more the longer the range.

    Wrong input gives the default and a `notice`.
    """
    now = now or datetime.now(UTC)
    name, endpoint = query.get("range") or history.LIVE, query.get("endpoint") or None
    zoom, notice = bool(query.get("from") and query.get("to")), ""
    try:
        begin, end = history.limits_of(name, now)
        if zoom:
            begin, end = history.zoomed(query["from"], query["to"], now)
    except RangeUnknown as error:
        name, zoom, notice = history.LIVE, False, str(error)
        begin, end = history.limits_of(name, now)
    compare = query.get("compare") == "week"
    span = history.span(begin, end, endpoint=endpoint)
    live = name == history.LIVE and not (zoom or compare or endpoint)
    found = {
        "range": "zoom" if zoom else name,
        "title": f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M}" if zoom else history.title_of(name),
        "notice": notice,
        "is_live": live,
        "ranges": _ranges(name if not zoom else "", endpoint, compare),
        "compare": compare,
        "endpoint": endpoint,
        "compare_link": _link(query, compare=None if compare else "week"),
        "from": f"{begin:%Y-%m-%dT%H:%M}",
        "to": f"{end:%Y-%m-%dT%H:%M}",
        "deploys": _deploys(begin, end),
        "heat": heatmap(span.parts, begin, end),
        "samples": samples(begin, end, endpoint),
    }
    if not live:
        found |= _still(span, endpoint, compare)
    return found | (_of_endpoint(span, endpoint) if endpoint else _of_all(span))


def _still(span: history.Span, endpoint: str | None, compare: bool) -> dict[str, Any]:
    columns = history.columns(span.points())
    if compare:
        week = history.week_before(span, endpoint=endpoint)
        for column in COMPARED:
            known = dict(zip(week["times"], week[column], strict=True))
            columns[f"week_{column}"] = [known.get(at_s) for at_s in columns["times"]]
    return {"series": columns, "step_s": span.step_s, "length_s": span.length_s}


def _of_all(span: history.Span) -> dict[str, Any]:
    whole = span.whole
    return {
        "endpoints": figures.endpoints(whole, span.length_s),
        "tasks": figures.tasks(whole),
        "outgoing": figures.outgoing(whole),
        "vitals": vitals.table(whole),
        "users": people(span.begin, span.end, "user_id"),
        "sessions": people(span.begin, span.end, "session_hash"),
        "errors": errors(span.begin, span.end),
    }


def _of_endpoint(span: history.Span, endpoint: str) -> dict[str, Any]:
    """Return where the time of one endpoint goes, by all its requests and by those kept."""
    whole = span.whole
    total = whole.of_kind("request")
    sql = whole.of_kind("sql")
    p50, p95, p99 = total.percentiles(figures.QUANTILES)
    statuses: dict[str, Histogram] = {
        status: row for (kind, _, status), row in whole.series.items() if kind == "request"
    }
    kept = RequestSample.objects.filter(
        at__gte=span.begin, at__lt=span.end, route=endpoint
    ).aggregate(n=Count("id"), all_ms=Sum("duration_ms"), **{part: Sum(part) for part in PARTS})
    named_ms = sum(kept[part] or 0.0 for part in PARTS)
    all_ms = kept["all_ms"] or 0.0
    parts = {part: kept[part] or 0.0 for part in PARTS}
    parts["other_ms"] = max(0.0, all_ms - named_ms)
    return {
        "whole": {
            "requests": total.n,
            "p50_ms": figures.ms(p50),
            "p95_ms": figures.ms(p95),
            "p99_ms": figures.ms(p99),
            "greatest_ms": total.max_us / 1000 if total.n else None,
            "errors": statuses["5xx"].n if "5xx" in statuses else 0,
            "queries_a_request": round(sql.n / total.n, 2) if total.n else None,
            "query_p95_ms": figures.ms(sql.percentile(0.95)),
            "sql_share": round(sql.sum_us / total.sum_us, 4) if total.sum_us and sql.n else None,
            "grown_bytes": figures.memory_growth(whole).get(endpoint, 0),
        },
        "split": [
            {
                "part": part.removesuffix("_ms"),
                "mean_ms": round(value / kept["n"], 3),
                "share": round(value / all_ms, 4) if all_ms else 0.0,
            }
            for part, value in parts.items()
            if kept["n"]
        ],
        "statuses": [
            {"status": status, "requests": row.n, "p95_ms": figures.ms(row.percentile(0.95))}
            for status, row in sorted(statuses.items())
        ],
        "errors": errors(span.begin, span.end, endpoint),
        "statements": statements.of_endpoint(span.begin, span.end, endpoint, parts["sql_ms"]),
        "kept_requests": kept["n"],
    }


def samples(
    begin: datetime, end: datetime, endpoint: str | None = None, limit: int = SAMPLES_SHOWN
) -> list[dict[str, Any]]:
    """Return the slowest and the failed requests that were kept, the slowest first."""
    # A minute's samples are written when it is over: the last hour shows some in any case.
    begin = min(begin, end - timedelta(hours=1))
    rows = RequestSample.objects.filter(at__gte=begin, at__lt=end)
    if endpoint:
        rows = rows.filter(route=endpoint)
    return [
        {
            "at": f"{row.at:%m-%d %H:%M}",
            "route": row.route,
            "status": row.status,
            "duration_ms": row.duration_ms,
            "sql_ms": row.sql_ms,
            "sql_count": row.sql_count,
            "cache_ms": row.cache_ms,
            "http_ms": row.http_ms,
            "render_ms": row.render_ms,
            "other_ms": round(row.other_ms, 3),
            "user_id": row.user_id,
            "session": row.session_hash,
            "error": row.error,
            "node": row.node,
        }
        for row in rows.order_by("-duration_ms")[:limit]
    ]


def people(begin: datetime, end: datetime, field: str) -> list[dict[str, Any]]:
    """Return who was hit most by what was slow or failed, among the requests that were kept."""
    begin = min(begin, end - timedelta(hours=1))
    rows = (
        RequestSample.objects.filter(at__gte=begin, at__lt=end)
        .exclude(**({"user_id": None} if field == "user_id" else {"session_hash": ""}))
        .values(field)
        .annotate(
            requests=Count("id"),
            failed=Count("id", filter=Q(status__gte=500)),
            waited_ms=Sum("duration_ms"),
            mean_ms=Avg("duration_ms"),
            last_at=Max("at"),
        )
        .order_by("-waited_ms")[:PEOPLE_SHOWN]
    )
    return [
        {
            "who": str(row[field]),
            "requests": row["requests"],
            "failed": row["failed"],
            "waited_ms": round(row["waited_ms"], 1),
            "mean_ms": round(row["mean_ms"], 1),
            "last_at": f"{row['last_at']:%m-%d %H:%M}",
        }
        for row in rows
    ]


def errors(begin: datetime, end: datetime, endpoint: str | None = None) -> list[dict[str, Any]]:
    """Return the groups of exceptions last seen in the range, the newest first."""
    begin = min(begin, end - timedelta(hours=1))
    rows = ErrorGroup.objects.filter(last_seen_at__gte=begin, first_seen_at__lt=end)
    if endpoint:
        rows = rows.filter(endpoint=endpoint)
    return [
        {
            "id": row.pk,
            "kind": row.kind,
            "place": row.place,
            "message": row.message,
            "endpoint": row.endpoint,
            "times": row.times,
            "first_at": f"{row.first_seen_at:%m-%d %H:%M}",
            "last_at": f"{row.last_seen_at:%m-%d %H:%M}",
        }
        for row in rows[:ERRORS_SHOWN]
    ]


def _deploys(begin: datetime, end: datetime) -> list[dict[str, Any]]:
    return [
        {"at_s": int(row.at.timestamp()), "at": f"{row.at:%m-%d %H:%M}", "build": row.build}
        for row in Deploy.objects.filter(at__gte=begin, at__lt=end)[:50]
    ]


def _ranges(chosen: str, endpoint: str | None, compare: bool) -> list[dict[str, Any]]:
    rest = {"endpoint": endpoint} if endpoint else {}
    if compare:
        rest["compare"] = "week"
    return [
        {"name": name, "chosen": name == chosen, "link": "?" + urlencode({"range": name, **rest})}
        for name in history.NAMES
    ]


def _link(query: Mapping[str, str], **changes: str | None) -> str:
    asked = {name: query[name] for name in ("range", "endpoint", "from", "to") if query.get(name)}
    asked |= {name: value for name, value in changes.items() if value is not None}
    return "?" + urlencode(asked)
