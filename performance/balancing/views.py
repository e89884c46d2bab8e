"""What the page shows of capacity: words and numbers, and the points of its curve. Pure."""

from __future__ import annotations

from typing import Any

from performance.balancing.planning import Capacity


def capacity_view(known: Capacity | None) -> dict[str, Any] | None:
    """Return JSON-ready values; None before the first load test."""
    if known is None:
        return None
    law, first = known.law, known.steps[0]
    return {
        "measured": first.began_at.strftime("%d %b %H:%M"),
        "nodes": first.nodes,
        "steps": [
            {
                "users": step.users,
                "per_s": round(step.per_s, 1),
                "p50_ms": round(step.p50_ms, 2),
                "p99_ms": round(step.p99_ms, 2),
                "errors": step.errors,
            }
            for step in known.steps
        ],
        "held": known.held,
        "limit": law.limit if law else None,
        "peak_per_s": round(law.peak_per_s) if law and law.peak_per_s else None,
        "contention": round(law.contention, 4) if law else None,
        "coherency": round(law.coherency, 6) if law else None,
        "texts": {
            "held": f"{known.held:,}" if known.held is not None else "–",
            "peak": f"{law.peak_per_s:,.0f}" if law and law.peak_per_s else "–",
        },
        "needs": [
            {
                "users": need.users,
                "per_s": round(need.per_s),
                "nodes": need.nodes,
                "proxies": need.proxies,
                "texts": {
                    "users": f"{need.users:,}",
                    "per_s": f"{need.per_s:,.0f}",
                    "nodes": f"{need.nodes:,}",
                },
            }
            for need in known.needs
        ],
    }
