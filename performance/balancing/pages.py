"""The page `balancer`: every node, what waits, what was decided and why; drain and scale."""

from __future__ import annotations

import time
from typing import Any

import redis
from django import forms

from performance.balancing import services
from performance.balancing.views import capacity_view
from performance.core import acts, pages, units

LEVELS = {"up": "good", "draining": "info", "spare": "info", "down": "bad"}
BY = "staff"
"""Who it was stands in the audit, beside the act."""


@pages.register
class BalancerPage(pages.Page):
    slug = "balancer"
    title = "LoadBalancer"
    permission = "performance_balancing.view_balancer"
    order = 40
    acts = ("balancing.scale", "balancing.policy", "balancing.weight")

    def snapshot(self) -> dict[str, Any]:
        """Return the balancer's last word; one GET in the bus, four queries."""
        try:
            status = services.balancer.status()
        except redis.RedisError:
            status = None
        known = status or {}
        nodes = known.get("nodes", [])
        return {
            "balancer": "leads" if status else "away",
            "age_s": round(time.time() - known["at_s"], 1) if status else None,
            "proxy": known.get("proxy", "unknown"),
            "policy": known.get("policy", ""),
            "executor": known.get("executor", ""),
            "troubles": sorted(known.get("troubles", {}).values()),
            "nodes": [_node(node) for node in nodes],
            "kinds": [_kind(kind, known, nodes) for kind in ("web", "live")],
            "targets": services.targets(),
            "capacity": capacity_view(services.balancer.capacity()),
            "decisions": [_decision(decision) for decision in services.latest_decisions()],
        }


def _node(node: dict[str, Any]) -> dict[str, Any]:
    state = "draining" if node["draining"] else node["state"]
    sessions = node["sessions"]
    load_ratio = None if sessions is None else round(sessions / node["slots"], 4)
    uptime_s = max(0.0, time.time() - node["started_at"]) if node["started_at"] else None
    return {
        **node,
        "state": state,
        "level": LEVELS.get(state, "warn"),
        "load_ratio": load_ratio,
        "uptime_s": uptime_s,
        "texts": {
            "load": units.format_ratio(load_ratio),
            "latency": units.format_ms(node["latency_ms"]),
            "waited": units.format_ms(node.get("queue_p95_ms")),
            "cpu": units.format_ratio(node["cpu_ratio"]),
            "memory": units.format_bytes(node["memory_bytes"] or None),
            "build": node["build"][:7] or "–",
            "uptime": "–" if uptime_s is None else units.format_age(uptime_s),
        },
    }


def _kind(kind: str, known: dict[str, Any], nodes: list[dict[str, Any]]) -> dict[str, Any]:
    of_kind = [node for node in nodes if node["kind"] == kind]
    mine = [node for node in of_kind if node["state"] != "spare"]
    queue = known.get("queues", {}).get(kind, {})
    verdict = known.get("scaling", {}).get(kind) or {}
    return {
        "kind": kind,
        "nodes": len(mine),
        "spare": len(of_kind) - len(mine),
        "up": sum(node["state"] == "up" and not node["draining"] for node in mine),
        "slots": sum(node["slots"] for node in mine),
        "sessions": queue.get("sessions"),
        "queued": queue.get("queued"),
        "rate_per_s": queue.get("rate_per_s"),
        "wanted": verdict.get("count"),
        "reason": verdict.get("reason", ""),
        "note": _note(verdict.get("reason", ""), len(of_kind) - len(mine)),
        "starting": verdict.get("starting", []),
    }


def _note(reason: str, spare: int) -> str:
    waits = {0: "", 1: "one waits as a spare"}.get(spare, f"{spare} wait as spares")
    return "; ".join(part for part in (reason or "no verdict yet", waits) if part)


def _decision(decision: Any) -> dict[str, Any]:
    return {
        "id": decision.pk,
        "at_s": decision.at.timestamp(),
        "at": decision.at.strftime("%d %b %H:%M:%S"),
        "action": decision.get_action_display(),
        "what": decision.node_id or decision.kind or "proxy",
        "change": ""
        if decision.after is None
        else f"{'–' if decision.before is None else decision.before} → {decision.after}",
        "reason": decision.reason,
        "by": decision.by,
    }


class DrainForm(forms.Form):
    node = forms.CharField(max_length=63, help_text="As the table names it, such as web-2.")
    keep = forms.BooleanField(
        required=False, label="Keep it running", help_text="Do not stop it once it is empty."
    )


class UndrainForm(forms.Form):
    node = forms.CharField(max_length=63)


class PolicyForm(forms.Form):
    policy = forms.ChoiceField(
        required=False,
        choices=[("", "as the settings say"), *((name, name) for name in services.POLICIES)],
        help_text="How the proxy chooses a web node. It is reloaded for it, and loses nothing.",
    )


class WeightForm(forms.Form):
    node = forms.CharField(max_length=63, help_text="As the table names it, such as web-2.")
    weight = forms.IntegerField(
        required=False, min_value=1, max_value=256,
        help_text="100 is usual, 50 half as much. Empty gives the node its own back.",
    )  # fmt: skip


class ScaleForm(forms.Form):
    kind = forms.ChoiceField(choices=[("web", "web"), ("live", "live")])
    count = forms.IntegerField(
        required=False, min_value=1, help_text="Empty gives it back to the autoscaler."
    )


acts.register(
    acts.Act(
        name="balancing.drain",
        title="Drain",
        permission="performance_balancing.drain_node",
        form=DrainForm,
        run=lambda node, keep: services.drain(node, by=BY, stop=not keep),
        preview=lambda node, keep: (
            f"{node} gets nothing new, ends what it has"
            + (" and stays empty." if keep else " and is then stopped.")
        ),
    )
)
acts.register(
    acts.Act(
        name="balancing.undrain",
        title="Undrain",
        permission="performance_balancing.drain_node",
        form=UndrainForm,
        run=lambda node: services.balancer.undrain(node, by=BY),
    )
)
acts.register(
    acts.Act(
        name="balancing.scale",
        title="Scale",
        permission="performance_balancing.scale_nodes",
        form=ScaleForm,
        run=lambda kind, count: services.scale(kind, count, by=BY),
        dangerous=True,
    )
)
acts.register(
    acts.Act(
        name="balancing.policy",
        title="Policy",
        permission="performance_balancing.steer_proxy",
        form=PolicyForm,
        run=lambda policy: services.balancer.choose(policy, by=BY),
        preview=lambda policy: (
            f"The proxy chooses by {policy or 'the policy of the settings'} instead of "
            f"{services.balancer.policy()}."
        ),
        dangerous=True,
    )
)
acts.register(
    acts.Act(
        name="balancing.weight",
        title="Weight",
        permission="performance_balancing.steer_proxy",
        form=WeightForm,
        run=lambda node, weight: services.balancer.weigh(node, weight, by=BY),
    )
)
