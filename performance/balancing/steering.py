"""How the proxy chooses among nodes: the policy and the weights, from settings or from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from django.core.exceptions import ImproperlyConfigured

from performance.balancing.conf import BalancingConf
from performance.balancing.models import NodeWeight, Steering
from performance.balancing.nodes import WEIGHT, Node

HEAVIEST = 256
"""The largest weight that HAProxy knows."""


def steered(options: BalancingConf) -> BalancingConf:
    """Return the options with the policy that a person set; those of the settings without. 1 query.

    A policy that a newer version wrote and this one does not know counts as not set.
    """
    row = Steering.objects.first()
    if row is None:
        return options
    try:
        return replace(options, policy=row.policy)
    except ImproperlyConfigured:
        return options


def weights() -> dict[str, int]:
    """Return the weights that were set by hand, by node. One query."""
    return dict(NodeWeight.objects.values_list("node_id", "weight"))


def weighed(nodes: Sequence[Node], by_hand: Mapping[str, int], policy: str) -> list[Node]:
    """Return the nodes with their weights: set by hand, by slots if `weighted`, or equal. Pure.

    >>> small, large = Node(id="web-1", kind="web", address="", slots=16), Node(
    ...     id="web-2", kind="web", address="", slots=64)
    >>> [node.weight for node in weighed([small, large], {}, "weighted")]
    [25, 100]
    """
    most = {node.kind: node.slots for node in sorted(nodes, key=lambda node: node.slots)}

    def weight_of(node: Node) -> int:
        if node.id in by_hand:
            return by_hand[node.id]
        if policy != "weighted":
            return WEIGHT
        return max(1, round(WEIGHT * node.slots / most[node.kind]))

    return [replace(node, weight=weight_of(node)) for node in nodes]
