"""What the performance API answers, for its OpenAPI page."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ninja import Field, Schema

from performance.monitoring.inputs import MetricType


class PerformanceMetric(Schema):
    id: str
    metric_type: MetricType
    value: float
    unit: Literal["ms", "requests/s", "ratio", "bytes"]
    timestamp: datetime = Field(description="The beginning of its minute, UTC.")
    endpoint: str | None = None
    user_id: int | None = None
    session_id: str | None = Field(None, description="A hash that leads back to no session.")


class Metrics(Schema):
    metrics: list[PerformanceMetric]
    next_cursor: str | None = Field(description="null when there are no more.")


class EndpointRow(Schema):
    endpoint: str
    requests: int
    per_minute: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    errors: int
    error_ratio: float
    time_ratio: float = Field(description="Its share of all the time spent on requests.")


class Summary(Schema):
    range: str
    begin: datetime
    end: datetime
    requests: int
    errors: int
    error_ratio: float | None
    requests_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    queries: int
    query_p95_ms: float | None
    cache_hit_ratio: float | None
    price_age_p95_s: float | None
    memory_bytes: int | None
    firing: int | None = Field(description="Alerts; null while no monitor leads.")
    endpoints: list[EndpointRow]


class Series(Schema):
    range: str
    step_s: int
    times: list[int] = Field(description="Unix seconds.")
    per_second: list[float | None]
    error_ratio: list[float | None]
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    p99_ms: list[float | None]
    query_p95_ms: list[float | None]
    cache_hit_ratio: list[float | None]
    price_age_p50_s: list[float | None]
    price_age_p95_s: list[float | None]
    memory_bytes: list[int | None]


class PageVitals(Schema):
    page: str
    visits: int
    lcp: float | None = Field(description="ms")
    inp: float | None = Field(description="ms")
    cls: float | None = Field(description="score")
    ttfb: float | None = Field(description="ms")
    fcp: float | None = Field(description="ms")


class Accepted(Schema):
    accepted: int


class Alert(Schema):
    id: int
    name: str
    enabled: bool
    severity: Literal["warning", "critical"]
    state: Literal["ok", "pending", "firing", "resolving", "no_data"]
    value_text: str
    limit_text: str
    comparison: Literal["above", "below"]
    subject: str
    silenced_until: str = Field(description="Empty when it is not.")
    inhibited_by: list[str] = Field(description="The causes of it that fire now.")
    taken_text: str
    held_text: str = Field(description="Why nobody is told of it now; empty when all are.")


class Matching(Schema):
    """Which alerts are meant; an empty field takes all."""

    rule_id: int | None
    rule: str
    route: str
    severity: Literal["", "warning", "critical"]
    node: str


class Silence(Matching):
    id: int
    state: Literal["on", "planned", "over"]
    starts_at: datetime
    ends_at: datetime
    reason: str
    by: str
    ended_by: str = Field(description="Empty when it ended by itself, or did not yet.")


class MuteWindow(Matching):
    id: int
    name: str
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    begins: str
    ends: str = Field(description="At or before `begins` is on the next day.")
    zone: str
    enabled: bool
    open_until: datetime | None = Field(description="null when it is not open now.")


class Done(Schema):
    ok: bool
    message: str
