"""What the balancer would do now, told from beside it: everything is read and nothing changed.

It needs no lock and may run while another one leads. Windows begin empty, as with a new leader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import redis

from performance.balancing import haproxy, reconcile, scaling
from performance.balancing.aside import Aside
from performance.balancing.autoscaling import policy_of, sample_of
from performance.balancing.conf import BalancingConf
from performance.balancing.floors import Floors
from performance.balancing.forecasting import Forecast, nodes_for
from performance.balancing.haproxy import BACKENDS
from performance.balancing.models import DrainOrder, ScaleTarget
from performance.balancing.nodes import Node
from performance.balancing.registry import Registry
from performance.balancing.runtime import Runtime, View
from performance.balancing.site import Site
from performance.balancing.spares import split
from performance.balancing.steering import steered, weighed, weights


class DryRun:
    """Remembers between rounds what a leader would, so that its windows fill."""

    def __init__(self, site: Site, bus: redis.Redis, options: BalancingConf) -> None:
        self._site = site
        self._given = options
        self._registry = Registry(bus, options)
        self._memories = {kind: scaling.Memory() for kind in BACKENDS}
        self._floors = Floors()
        known = reconcile.nodes_of(haproxy.read_config(site))
        self._aside = Aside(already=[node.id for node in known if node.draining])

    def round(self) -> list[str]:
        """Return a sentence for each change to the proxy, and one for each kind of node.

        Raises BalancingError, redis.RedisError or django.db.DatabaseError when one is away.
        """
        options = steered(self._given)
        view = Runtime(self._site.socket_path).view()
        wanted = self._wanted(options, view)
        said = []
        if haproxy.digest_of(haproxy.render(self._site, wanted, options)) != view.digest:
            said.append("the proxy would be reloaded, as its settings differ")
        for change in reconcile.plan(wanted, view):
            said.append(f"{change.backend}/{change.name} would be changed: {change.action}")
        pins = {target.kind: target for target in ScaleTarget.objects.all()}
        return said + [
            self._count(kind, wanted, view, options, pins.get(kind)) for kind in BACKENDS
        ]

    def _wanted(self, options: BalancingConf, view: View) -> list[Node]:
        known = reconcile.nodes_of(haproxy.read_config(self._site))
        ordered = DrainOrder.objects.filter(done_at=None).values_list("node_id", flat=True)
        draining = set(ordered)
        announced, _ = split(self._registry.nodes(), {node.id for node in known})
        members = [
            replace(node, draining=node.id in draining)
            for node in reconcile.membership(known, announced, view)
        ]
        return weighed(self._aside.of(members, view), weights(), options.policy)

    def _count(
        self, kind: str, wanted: Sequence[Node], view: View, options: BalancingConf,
        pin: ScaleTarget | None,
    ) -> str:  # fmt: skip
        staying = [node for node in wanted if node.kind == kind and not node.draining]
        sample = self._ahead(kind, sample_of(kind, staying, view, len(staying)), options)
        verdict = scaling.decide(self._memories[kind], sample, policy_of(options, kind))
        count, reason = verdict.count, verdict.reason
        if pin is not None:
            count, reason = pin.count, f"set to {pin.count} by {pin.by}"
        elif not options.autoscale:
            count, reason = len(staying), "autoscale is off"
        return f"{kind}: {what_would_happen(len(staying), count)} ({reason})"

    def _ahead(self, kind: str, sample: scaling.Sample, options: BalancingConf) -> scaling.Sample:
        wants, unknown = self._floors.of(kind)
        if options.forecast:
            usual = Forecast(kind, options.forecast_lead_s).demand(datetime.now(UTC))
            if usual is not None:
                nodes = nodes_for(usual, options.slots(kind), options.target_utilisation)
                wants = wants | {"forecast": nodes}
        return replace(sample, floors=wants, unknown=unknown)


def what_would_happen(present: int, count: int) -> str:
    """Say what a wanted number does to the nodes that are there. One is stopped at a time.

    >>> what_would_happen(2, 3), what_would_happen(2, 2)
    ('2 nodes, 1 would be started', '2 nodes, none would be started or stopped')
    """
    if count > present:
        return f"{present} nodes, {count - present} would be started"
    if count < present:
        return f"{present} nodes, {present - count} would be drained and stopped, one at a time"
    return f"{present} nodes, none would be started or stopped"
