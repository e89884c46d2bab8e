"""What the leading balancer tells of itself, as JSON-ready values. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from performance.balancing.autoscaling import Scaler
from performance.balancing.conf import BalancingConf
from performance.balancing.haproxy import BACKENDS
from performance.balancing.nodes import Node
from performance.balancing.runtime import Server, View
from performance.balancing.site import Site
from performance.balancing.spares import Spares


def sessions_of(view: View | None, node: Node) -> int | None:
    """Return what a node still works on, over all its backends; None when it is not known."""
    if view is None:
        return None
    servers = [view.of(backend).get(node.id) for backend in BACKENDS[node.kind]]
    return sum(server.sessions + server.queued for server in servers if server is not None)


def _state(node: Node, server: Server | None) -> str:
    """Return the proxy's word; who is set aside is up to it, with a weight of zero."""
    if server is None:
        return "unknown"
    status = server.status.lower()
    return "set aside" if node.aside and status in {"up", "drain"} else status


def scaling_of(scaler: Scaler, spares: Mapping[str, Spares]) -> dict[str, Any]:
    """Return the last verdict of each kind, with the names of those that boot; None before one."""
    told: dict[str, Any] = {}
    for kind, state in scaler.kinds.items():
        verdict = state.verdict
        booting = [*state.starting, *(spares[kind].starting if kind in spares else ())]
        told[kind] = verdict and {
            "count": verdict.count,
            "reason": verdict.reason,
            "inputs": verdict.inputs,
            "starting": sorted(set(booting)),
        }
    return told


def spare_row(node: Node) -> dict[str, Any]:
    """Return the row of a node that waits: the proxy knows nothing of it yet."""
    row = asdict(node) | {"heard": True, "state": "spare", "check": "", "sessions": None}
    return row | {"answers": None, "errors": None, "latency_ms": None}


def status_of(
    wanted: Sequence[Node], view: View | None, heard: set[str], site: Site, options: BalancingConf
) -> dict[str, Any]:
    """Return nodes and queues as JSON-ready values."""
    rows = []
    for node in wanted:
        server = view.of(BACKENDS[node.kind][0]).get(node.id) if view else None
        row = asdict(node) | {"heard": node.id in heard}
        row |= {
            "state": _state(node, server),
            "check": server.check if server else "",
            "sessions": sessions_of(view, node),
            "answers": server.answers if server else None,
            "errors": server.errors if server else None,
            "latency_ms": server.latency_ms if server else None,
        }
        rows.append(row)
    queues = {
        kind: {
            "queued": view.backends[kind].queued,
            "sessions": view.backends[kind].sessions,
            "rate_per_s": view.backends[kind].rate_per_s,
        }
        for kind in BACKENDS
        if view is not None and kind in view.backends
    }
    return {
        "at_s": time.time(),
        "policy": options.policy,
        "proxy": "up" if view else "away",
        "address": f"{site.bind}:{site.port}",
        "nodes": rows,
        "queues": queues,
    }
