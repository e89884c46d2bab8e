"""Web vitals as visitors' browsers measured them: by route, without who it was.

What a browser says is anybody's word, so it is bounded in size, rate and range, and its path must
be one of our pages: a stranger cannot fill the series with names.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.utils.crypto import salted_hmac

from performance.core import limits, signals
from performance.core.addresses import client_address
from performance.core.routes import readable
from performance.monitoring.conf import conf
from performance.monitoring.errors import BadInput
from performance.monitoring.histogram import Histogram
from performance.monitoring.inputs import Vitals
from performance.monitoring.merging import Merged

KIND = "web_vital"
SHARE = 0.75
"""Google judges a page by the 75th percentile of its visits; so do we."""
LIMITS = {
    "LCP": (2500, 4000),
    "INP": (200, 500),
    "CLS": (0.1, 0.25),
    "TTFB": (800, 1800),
    "FCP": (1800, 3000),
}
"""Good up to the first, poor beyond the second (https://web.dev/articles/vitals)."""
WINDOW_S = 60


def admit(request: HttpRequest) -> None:
    """Refuse a report from another site, or one too many from one address; raises BadInput."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.get_host():
        raise BadInput(
            "Origin", origin[:80], f"{request.scheme}://{request.get_host()}", status=403
        )
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise BadInput("Sec-Fetch-Site", "cross-site", ["same-origin"], status=403)
    # Counted by a hash that ends with the minute: the address itself is kept nowhere.
    name = salted_hmac("performance.monitoring.vitals", client_address(request)).hexdigest()[:16]
    limit = conf().vitals_per_minute
    waiting_s = limits.hit(f"vitals:{name}", limit=limit, window_s=WINDOW_S)
    if waiting_s is not None:
        message = f"{limit} reports a minute are the limit; wait {waiting_s} s."
        raise BadInput("request", None, f"{limit} a minute", message, 429)


def note(given: Vitals) -> int:
    """Count what one page view measured; return how many values. Raises BadInput."""
    page = _page(given.path)
    for vital in given.vitals:
        value = vital.value if vital.name == "CLS" else vital.value / 1000
        signals.recorder.observe(KIND, f"{vital.name} {page}", value)
    return len(given.vitals)


def _page(path: str) -> str:
    try:
        route = readable(resolve(path).route)
    except Resolver404:
        route = ""
    if not route or path.startswith(("/admin/", "/api/", settings.STATIC_URL)):
        raise BadInput("path", path[:80], "the path of one of the visitors' pages")
    return route


def table(merged: Merged) -> list[dict[str, Any]]:
    """Return one row a page: its visits, and each vital's 75th percentile with its judgement."""
    pages: dict[str, dict[str, Histogram]] = {}
    for (kind, key, _), row in merged.series.items():
        name, _, page = key.partition(" ")
        if kind == KIND and name in LIMITS:
            pages.setdefault(page, {}).setdefault(name, Histogram()).merge(row)
    rows: list[dict[str, Any]] = []
    for page, found in pages.items():
        shown: dict[str, Any] = {"page": page, "visits": max(one.n for one in found.values())}
        for name in LIMITS:
            value = _value(name, found.get(name))
            shown[name.lower()] = value
            shown[f"{name.lower()}_level"] = _level(name, value)
        rows.append(shown)
    return sorted(rows, key=lambda one: (-one["visits"], one["page"]))


def _value(name: str, row: Histogram | None) -> float | None:
    found = row.percentile(SHARE) if row is not None else None
    if found is None:
        return None
    return round(found, 4) if name == "CLS" else round(found * 1000, 1)


def _level(name: str, value: float | None) -> str:
    if value is None:
        return ""
    good, poor = LIMITS[name]
    return "good" if value <= good else "warn" if value <= poor else "bad"
