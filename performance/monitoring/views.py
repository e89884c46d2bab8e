from __future__ import annotations

import ipaddress

import prometheus_client
import redis
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET
from django_prometheus.exports import ExportToDjangoView

from performance.monitoring import native
from performance.monitoring.conf import conf
from performance.monitoring.exporting import MergedCollector, in_protobuf

prometheus_client.REGISTRY.register(MergedCollector())

FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Give the merged numbers to a scraper that may have them; to others there is nothing here."""
    if not may_scrape(request):
        raise Http404("No such page.")
    answer = _in_protobuf(request) or ExportToDjangoView(request)
    answer["Cache-Control"] = "no-store"
    return answer


def _in_protobuf(request: HttpRequest) -> HttpResponse | None:
    """Prometheus asks for it where native histograms are switched on; only it can carry them."""
    if not native.is_wanted(request.headers.get("Accept", "")):
        return None
    try:
        return HttpResponse(in_protobuf(), content_type=native.CONTENT_TYPE)
    except redis.RedisError:
        return None  # the text says that the bus is down


def may_scrape(request: HttpRequest) -> bool:
    """A token in `Authorization: Bearer …`; without one set, direct requests of this machine only.

    A request through the proxy comes from this machine too, but says for whom: it is refused.
    """
    token = conf().metrics_token
    if token:
        given = request.headers.get("Authorization", "")
        return constant_time_compare(given, f"Bearer {token}")
    if any(request.META.get(name) for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
