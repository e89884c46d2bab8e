"""`/api/v1/performance/`: what the pages show, for programs; and what visitors' browsers report.

The composition root mounts it into the one API, so that it is on the same OpenAPI page and wrong
input is answered in the same shape: `{"error": {"field", "value", "allowed", "message"}}`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Router, Status

from performance.core import acts
from performance.core.addresses import client_address
from performance.monitoring import api_schemas as schemas
from performance.monitoring import inputs, listing, reading, vitals
from performance.monitoring.errors import BadInput, RangeUnknown
from performance.monitoring.models import AlertRule, AlertSilence
from performance.monitoring.services import monitor
from performance.monitoring.tokens import StaffOrToken

RunAct = Callable[..., Any]
"""`run(act, values, key=…, who=…, address=…)`, audited; returns `.ok` and `.message`."""
RETRY_AFTER_S = 5

router = Router(tags=["performance"])
reads = StaffOrToken("view_monitor")
reads_alerts = StaffOrToken("view_alerts")
_run_act: RunAct | None = None


@router.get(
    "/metrics", auth=reads, response=schemas.Metrics, summary="Metrics, page by page",
    openapi_extra=inputs.parameters(inputs.MetricFilters),
)  # fmt: skip
def metrics(request: HttpRequest) -> dict[str, Any]:
    """Minutes of each endpoint, newest first; with `user_id` or `session_id` single requests."""
    rows, cursor = listing.page(
        inputs.of_query(inputs.MetricFilters, request.GET), datetime.now(UTC)
    )
    return {"metrics": rows, "next_cursor": cursor}


@router.get(
    "/summary", auth=reads, response=schemas.Summary, summary="One range in numbers",
    openapi_extra=inputs.parameters(inputs.RangeFilters),
)  # fmt: skip
def summary(request: HttpRequest) -> dict[str, Any]:
    """Totals and percentiles of all, and of each endpoint."""
    return reading.summary(inputs.of_query(inputs.RangeFilters, request.GET).range)


@router.get(
    "/series", auth=reads, response=schemas.Series, summary="One range as columns",
    openapi_extra=inputs.parameters(inputs.SeriesFilters),
)  # fmt: skip
def series(request: HttpRequest) -> dict[str, Any]:
    """Columns of equal length, oldest first; null where nothing was measured."""
    asked = inputs.of_query(inputs.SeriesFilters, request.GET)
    return reading.series(asked.range, asked.endpoint)


@router.get(
    "/vitals", auth=reads, response=list[schemas.PageVitals], summary="Web vitals by page",
    openapi_extra=inputs.parameters(inputs.RangeFilters),
)  # fmt: skip
def read_vitals(request: HttpRequest) -> list[dict[str, Any]]:
    """The 75th percentile of each, as visitors' browsers measured it."""
    return reading.vitals(inputs.of_query(inputs.RangeFilters, request.GET).range)


@router.post(
    "/vitals", auth=None, response={202: schemas.Accepted}, summary="Report web vitals",
    openapi_extra=inputs.body(inputs.Vitals),
)  # fmt: skip
def report_vitals(request: HttpRequest) -> Status[Any]:
    """What one page view measured. Open to visitors; small, rare, and without who it was."""
    vitals.admit(request)
    return Status(202, {"accepted": vitals.note(inputs.of_body(inputs.Vitals, request))})


@router.get(
    "/alerts", auth=reads_alerts, response=list[schemas.Alert], summary="Alerts",
    openapi_extra=inputs.parameters(inputs.AlertFilters),
)  # fmt: skip
def alerts(request: HttpRequest) -> list[dict[str, Any]]:
    """Every rule with its state, the worst first."""
    asked = inputs.of_query(inputs.AlertFilters, request.GET)
    return [
        row
        for row in monitor.alerts()["rules"]
        if asked.state in (None, row["state"]) and asked.severity in (None, row["severity"])
    ]


@router.post(
    "/alerts/{alert_id}/acknowledge", auth=StaffOrToken("acknowledge_alert", acts=True),
    response=schemas.Done, summary="Acknowledge an alert",
)  # fmt: skip
def acknowledge(request: HttpRequest, alert_id: str) -> dict[str, Any]:
    """Say that somebody has taken it up; 409 when it does not fire."""
    inputs.of_body(inputs.Nothing, request)
    return _act(request, "alerts.acknowledge", {"rule": _rule(alert_id)})


@router.post(
    "/alerts/{alert_id}/silence", auth=StaffOrToken("silence_alert", acts=True),
    response=schemas.Done, summary="Silence an alert",
    openapi_extra=inputs.body(inputs.Silence),
)  # fmt: skip
def silence(request: HttpRequest, alert_id: str) -> dict[str, Any]:
    """Send nothing about it for so long; its state and history go on."""
    asked = inputs.of_body(inputs.Silence, request)
    values = {"rule": _rule(alert_id), "minutes": asked.minutes, "reason": asked.reason}
    return _act(request, "alerts.silence", values)


@router.get(
    "/silences", auth=reads_alerts, response=list[schemas.Silence], summary="Silences",
    openapi_extra=inputs.parameters(inputs.SilenceFilters),
)  # fmt: skip
def silences(request: HttpRequest) -> list[dict[str, Any]]:
    """Those that are on, planned and over; what ends last first."""
    asked = inputs.of_query(inputs.SilenceFilters, request.GET)
    return monitor.silences(asked.state)


@router.post(
    "/silences", auth=StaffOrToken("silence_alert", acts=True),
    response=schemas.Done, summary="Silence by matcher",
    openapi_extra=inputs.body(inputs.SilenceMatching),
)  # fmt: skip
def silence_matching(request: HttpRequest) -> dict[str, Any]:
    """Send nothing about what matches, now or planned; states and history go on."""
    asked = inputs.of_body(inputs.SilenceMatching, request).model_dump()
    rule_id = asked.pop("rule_id")
    rule = None if rule_id is None else _rule(str(rule_id), "rule_id")
    return _act(request, "alerts.silence_matching", {"rule": rule, **asked}, field="starts_at")


@router.post(
    "/silences/{silence_id}/end", auth=StaffOrToken("silence_alert", acts=True),
    response=schemas.Done, summary="End a silence early",
)  # fmt: skip
def end_silence(request: HttpRequest, silence_id: str) -> dict[str, Any]:
    """End it now; 409 when it is over already."""
    inputs.of_body(inputs.Nothing, request)
    found = AlertSilence.objects.filter(pk=silence_id).first() if _is_id(silence_id) else None
    if found is None:
        message = f"There is no silence {silence_id[:40]!r}; GET /api/v1/performance/silences."
        raise BadInput("silence_id", silence_id[:40], "the id of a silence", message, 404)
    return _act(request, "alerts.end_silence", {"silence": found}, field="silence_id")


@router.get(
    "/mute-windows", auth=reads_alerts, response=list[schemas.MuteWindow],
    summary="Mute windows",
)  # fmt: skip
def mute_windows(request: HttpRequest) -> list[dict[str, Any]]:
    """The hours of each week in which nobody is told, and which are open now."""
    inputs.of_query(inputs.Nothing, request.GET)
    return monitor.mute_windows()


def _rule(alert_id: str, field: str = "alert_id") -> AlertRule:
    found = AlertRule.objects.filter(pk=alert_id).first() if _is_id(alert_id) else None
    if found is None:
        message = f"There is no alert {alert_id[:40]!r}; GET /api/v1/performance/alerts has them."
        raise BadInput(field, alert_id[:40], "the id of an alert", message, 404)
    return found


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _act(
    request: HttpRequest, name: str, values: dict[str, Any], field: str = "alert_id"
) -> dict[str, Any]:
    act = acts.get(name)
    assert act is not None
    assert _run_act is not None, "performance.monitoring.api.mount was not called"
    outcome = _run_act(
        act, values, key=secrets.token_hex(16), who=request.user, address=client_address(request)
    )
    if not outcome.ok:
        raise BadInput(field, None, (), outcome.message, 409)
    return {"ok": True, "message": outcome.message}


# --- mounting ---------------------------------------------------------------------------------


def mount(api: NinjaAPI, run_act: RunAct, *, path: str = "/v1/performance") -> None:
    """Add all of this to `api`, once. Acts run by `run_act`, so that they are audited like all."""
    global _run_act
    if _run_act is not None:
        return
    _run_act = run_act
    api.add_router(path, router)

    def refuse(request: HttpRequest, error: Any) -> HttpResponse:
        allowed = error.allowed if isinstance(error.allowed, str) else list(error.allowed)
        return _answer(
            api, request, error.field, error.value, str(error), allowed, status=error.status
        )

    def unknown_range(request: HttpRequest, error: Any) -> HttpResponse:
        return _answer(api, request, "range", error.given, str(error), list(error.allowed))

    def away(request: HttpRequest, error: Any) -> HttpResponse:
        if not request.path.startswith("/api/v1/performance/"):
            raise error
        message = "The numbers cannot be read now; try again shortly."
        answer = _answer(api, request, "server", None, message, status=503)
        answer["Retry-After"] = str(RETRY_AFTER_S)
        return answer

    api.add_exception_handler(BadInput, refuse)
    api.add_exception_handler(RangeUnknown, unknown_range)
    api.add_exception_handler(redis.RedisError, away)


def _answer(
    api: NinjaAPI,
    request: HttpRequest,
    field: str,
    value: object,
    message: str,
    allowed: object = (),
    *,
    status: int = 400,
) -> HttpResponse:
    error = {"field": field, "value": value, "allowed": allowed, "message": message}
    answer: HttpResponse = api.create_response(request, {"error": error}, status=status)
    answer["Cache-Control"] = "no-store"
    if status == 429:
        answer["Retry-After"] = str(vitals.WINDOW_S)
    if status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    return answer
