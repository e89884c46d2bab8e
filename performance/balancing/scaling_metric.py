"""`/scaling/web` and `/scaling/live`: how many nodes there should be, for KEDA or an adapter."""

from __future__ import annotations

import redis
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from performance.balancing import services
from performance.balancing.health import may_see_details
from performance.balancing.nodes import KINDS


@never_cache
@require_safe
def scaling_metric(request: HttpRequest, kind: str) -> HttpResponse:
    """Return `{"kind", "wanted", "present"}` to staff and to READYZ_TOKEN's holder; one GET.

    503 while no balancer leads or nothing was decided yet: KEDA then keeps its number, or takes
    its fallback. A number made up here would stop nodes.
    """
    if kind not in KINDS or not may_see_details(request, database_ok=True):
        raise Http404
    try:
        status = services.balancer.status()
    except redis.RedisError:
        status = None
    wanted = status["wanted"].get(kind) if status else None
    if status is None or wanted is None:
        return JsonResponse({"error": "No balancer has decided within 15 s."}, status=503)
    present = sum(node["kind"] == kind and node["state"] != "spare" for node in status["nodes"])
    return JsonResponse({"kind": kind, "wanted": wanted, "present": present})
