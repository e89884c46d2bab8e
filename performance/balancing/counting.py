"""How many nodes there should be, as people say it, beside what demand says."""

from __future__ import annotations

from typing import TextIO

from performance.balancing import autoscaling, decisions, replaying
from performance.balancing.conf import conf
from performance.balancing.dry_run import what_would_happen
from performance.balancing.errors import BalancingError, OutOfBounds
from performance.balancing.models import ScaleTarget
from performance.balancing.nodes import KINDS
from performance.balancing.recordings import samples


class Autoscaler:
    """How many nodes there should be: by demand, or as a person says."""

    def set(self, kind: str, count: int, *, by: str) -> str:
        """Hold this many nodes of a kind until `release`; OutOfBounds beyond the settings."""
        _refuse_unknown_kind(kind)
        _refuse_out_of_bounds(kind, count)
        before = ScaleTarget.objects.filter(kind=kind).values_list("count", flat=True).first()
        ScaleTarget.objects.update_or_create(kind=kind, defaults={"count": count, "by": by})
        decisions.record(
            "pin", kind=kind, before=before, after=count, by=by, reason=f"{count} asked for"
        )
        return f"{count} {kind} nodes are held from now on, whatever the demand."

    def preview(self, kind: str, count: int | None, present: int) -> str:
        """Return what `set` or `release` would do, and do nothing; OutOfBounds as `set` does."""
        _refuse_unknown_kind(kind)
        if count is None:
            return f"{kind}: demand would decide; {present} nodes now."
        _refuse_out_of_bounds(kind, count)
        return f"{kind}: {what_would_happen(present, count)}."

    def release(self, kind: str, *, by: str) -> str:
        """Let demand decide again."""
        _refuse_unknown_kind(kind)
        deleted, _ = ScaleTarget.objects.filter(kind=kind).delete()
        if not deleted:
            return f"Demand decides over {kind} nodes already."
        decisions.record("pin", kind=kind, by=by, reason="given back to the autoscaler")
        return f"Demand decides over {kind} nodes again."

    def replay(self, lines: TextIO, kind: str = "web", boot_s: float = 5.0) -> replaying.Replay:
        """Play a recorded demand, one JSON object a line, through the scaler's own rules.

        Each has `at_s` and `in_use`, and may have `queued`, `queue_ms` and `cpu_ratio`.
        BalancingError names the first line that cannot be read.
        """
        _refuse_unknown_kind(kind)
        return replaying.replay(samples(lines), autoscaling.policy_of(conf(), kind), boot_s)


def _refuse_unknown_kind(kind: str) -> None:
    if kind not in KINDS:
        raise BalancingError(f"There are no {kind!r} nodes; the kinds are: {', '.join(KINDS)}.")


def _refuse_out_of_bounds(kind: str, count: int) -> None:
    low, high = conf().bounds(kind)
    if not low <= count <= high:
        raise OutOfBounds(kind, count, low, high)
