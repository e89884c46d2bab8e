"""The fixture calendar as a reason to have nodes: matches bring their audience with them."""

from __future__ import annotations

import math
from datetime import timedelta

from django.utils import timezone

from odds.models import Event
from performance.balancing import services as balancing


def nodes_for_kickoffs(kind: str) -> int:
    """Return the nodes for the matches that begin within the lead time; 0 for live nodes.

    Sockets are held through a match and beyond, so demand itself tells of them in time. One
    query of an index's range; the balancer asks every 30 s. Raises DatabaseError.
    """
    if kind != "web":
        return 0
    lead_s, per_node = balancing.fixture_options()
    now = timezone.now()
    begins = (now, now + timedelta(seconds=lead_s))
    return math.ceil(Event.objects.filter(commence_time__range=begins).count() / per_node)
