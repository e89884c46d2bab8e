"""What the API may be asked and told: declared names only, each checked, each refusal naming it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from django.http import HttpRequest, QueryDict
from django.http.request import RawPostDataException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from performance.monitoring.errors import BadInput

MAX_BODY_BYTES = 4096
"""Five web vitals take 400; what is longer is something else, and is not read."""

MetricType = Literal["response_time", "throughput", "error_rate", "memory_usage"]
Aggregate = Literal["p50", "p95", "p99", "mean"]
RangeName = Literal["15m", "1h", "6h", "24h", "7d", "30d", "90d"]
VitalName = Literal["LCP", "INP", "CLS", "TTFB", "FCP"]


def _utc(value: datetime) -> datetime:
    known = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value  # noqa: UP017
    return known.astimezone(timezone.utc)  # noqa: UP017


Instant = Annotated[datetime, AfterValidator(_utc)]
Pattern = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Endpoint = Annotated[str, Field(max_length=300, pattern=r"^[^\x00-\x1f]+$")]


class Input(BaseModel):
    """The root: a name that is not declared is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class MetricFilters(Input):
    metric_type: MetricType | None = Field(None, description="All four when left out.")
    endpoint: Endpoint | None = Field(None, description="Exactly this, such as `GET api/v1/odds`.")
    user_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = Field(
        None,
        description="Single requests of this user, among the slow and the failed that are kept.",
    )
    session_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = Field(
        None, description="Single requests of this session, as hashed in what this API gives out."
    )
    aggregate: Aggregate = Field("p95", description="Of each minute's response times.")
    from_: Instant | None = Field(None, alias="from", description="Default: one hour before `to`.")
    to: Instant | None = Field(None, description="Default: now.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(max_length=600)] | None = Field(
        None, description="`next_cursor` of the page before; the other parameters stay the same."
    )


class RangeFilters(Input):
    range: RangeName = "15m"


class SeriesFilters(RangeFilters):
    endpoint: Endpoint | None = Field(None, description="Exactly this; all when left out.")


class AlertFilters(Input):
    state: Literal["ok", "pending", "firing", "resolving", "no_data"] | None = None
    severity: Literal["warning", "critical"] | None = None


class Nothing(Input):
    """No parameter at all."""


class Silence(Input):
    minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = Field(
        60, description="0 ends a silence."
    )
    reason: Annotated[str, Field(max_length=300)] = ""


class SilenceFilters(Input):
    state: Literal["on", "planned", "over"] | None = None


class SilenceMatching(Input):
    """Which alerts, from when and for how long; what is left out takes all."""

    rule_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    route: Pattern = Field("", description="Of the worst route, such as `api/*`; `!` leaves out.")
    severity: Literal["", "warning", "critical"] = ""
    node: Pattern = Field("", description="Of the worst node, such as `web-*`.")
    starts_at: Instant | None = Field(None, description="Default: now.")
    minutes: Annotated[int, Field(ge=1, le=90 * 24 * 60)]
    reason: Annotated[str, Field(min_length=1, max_length=300)]


class Vital(Input):
    name: VitalName
    value: Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False)] = Field(
        description="Milliseconds; for CLS the score."
    )


class Vitals(Input):
    """What one page view measured. There is no field for who it was."""

    path: Annotated[str, Field(max_length=300, pattern=r"^/[^\x00-\x1f?#]*$")] = Field(
        description="The page's path without its query; only its route is kept."
    )
    vitals: Annotated[list[Vital], Field(min_length=1, max_length=10)]


M = TypeVar("M", bound=Input)


def of_query(model: type[M], query: QueryDict) -> M:
    """Return the query's parameters; raises BadInput for the first that is wrong."""
    return _validated(model, {name: query[name] for name in query if query[name] != ""})


def of_body(model: type[M], request: HttpRequest) -> M:
    """Return the JSON body, of `MAX_BODY_BYTES` at most; raises BadInput."""
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise BadInput("body", int(length), f"at most {MAX_BODY_BYTES} bytes", status=413)
    try:
        raw = request.body
    except RawPostDataException:  # pragma: no cover - nothing before us reads it
        raw = b""
    if len(raw) > MAX_BODY_BYTES:
        raise BadInput("body", len(raw), f"at most {MAX_BODY_BYTES} bytes", status=413)
    try:
        given = json.loads(raw) if raw else {}
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("body", raw[:40].decode(errors="replace"), f"JSON ({error})") from None
    if not isinstance(given, dict):
        raise BadInput("body", type(given).__name__, "a JSON object")
    return _validated(model, given)


def _validated(model: type[M], given: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(dict(given))
    except pydantic.ValidationError as error:
        raise _in_our_words(error.errors()[0], model) from None


def _in_our_words(error: Mapping[str, Any], model: type[Input]) -> BadInput:
    field = ".".join(str(part) for part in error["loc"]) or "body"
    value, context = error.get("input"), error.get("ctx") or {}
    match error["type"]:
        case "extra_forbidden":
            names = [known.alias or name for name, known in model.model_fields.items()]
            near = get_close_matches(field.rpartition(".")[2], names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return BadInput(field, _shown(value), names, f"there is no field {field!r}{hint}")
        case "missing":
            return BadInput(field, None, "given", f"{field!r} is needed")
        case "literal_error":
            expected = context["expected"].replace(" or ", ", ")
            return BadInput(
                field, _shown(value), [part.strip("' ") for part in expected.split(",")]
            )
    return BadInput(field, _shown(value), error["msg"][:1].lower() + error["msg"][1:])


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else str(value)[:80]


def parameters(model: type[Input]) -> dict[str, Any]:
    """Return the model as OpenAPI's `parameters` of a query."""
    schema = model.model_json_schema(by_alias=True)
    return {
        "parameters": [
            {
                "in": "query",
                "name": name,
                "required": name in schema.get("required", []),
                "schema": {key: one for key, one in rule.items() if key != "description"},
                "description": rule.get("description", ""),
            }
            for name, rule in schema.get("properties", {}).items()
        ]
    }


def body(model: type[Input]) -> dict[str, Any]:
    """Return the model as OpenAPI's `requestBody`; definitions are put where they are used."""
    schema = model.model_json_schema(by_alias=True)
    text = json.dumps({key: one for key, one in schema.items() if key != "$defs"})
    for name, one in schema.get("$defs", {}).items():
        text = text.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(one))
    content = {"application/json": {"schema": json.loads(text)}}
    return {"requestBody": {"required": True, "content": content}}
