"""From the last load test to how many users these nodes hold, and what more would need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from performance.balancing import capacity
from performance.balancing.conf import BalancingConf
from performance.balancing.models import LoadStep

AIMS = (100_000, 1_000_000)
"""Users that the page gives an answer for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the page shows; without `law` the steps were too few or too alike to fit one."""

    steps: Sequence[LoadStep]
    law: capacity.Law | None
    held: int | None
    """Users that these nodes hold."""
    needs: Sequence[capacity.Need]


def latest(options: BalancingConf) -> Capacity | None:
    """Return what the newest load test says; None before the first. Two queries."""
    newest = LoadStep.objects.order_by("-began_at").first()
    if newest is None:
        return None
    steps = list(LoadStep.objects.filter(began_at=newest.began_at).order_by("users"))
    points = [
        capacity.Point(at_work=step.per_s * step.mean_ms / 1e3, per_s=step.per_s)
        for step in steps
        if not step.errors  # one who was refused was quick, and is no measure
    ]
    law = capacity.fit(points)
    if law is None:
        return Capacity(steps=steps, law=None, held=None, needs=())
    share, every_s = options.target_utilisation, options.user_every_s
    found = [
        capacity.needs(
            law, max(1, newest.nodes), users,
            every_s=every_s, utilisation=share, connections=options.max_connections,
        )
        for users in AIMS
    ]  # fmt: skip
    held = capacity.users_held(law, every_s, share)
    return Capacity(steps=steps, law=law, held=min(held, options.max_connections), needs=found)
