"""The auditor: recomputes samples of what is being served, and says how much of it was wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from performance.caching import runtime as runtimes
from performance.caching.computing import run_loader
from performance.caching.copies import assess, ticket
from performance.caching.envelope import State
from performance.caching.errors import RefreshFailed, StoreAway
from performance.caching.families import Family


@dataclass(frozen=True, slots=True)
class Audit:
    family: str
    sampled: int
    stale: int
    """Samples that were called fresh and are no longer what the loader gives."""
    oldest_stale_s: float
    """Age of the oldest of those."""


def audit(families: Sequence[Family[..., Any]], *, samples: int) -> list[Audit]:
    """Recompute up to `samples` stored, fresh values a family, of those that it would warm.

    Nothing is written. A value that is invalidated while it is recomputed is not counted.
    """
    return [_audit(family, samples) for family in families if family.warm is not None]


def _audit(family: Family[..., Any], samples: int) -> Audit:
    assert family.warm is not None
    candidates = list(family.warm())
    chosen = random.sample(candidates, min(samples, len(candidates)))
    ages_s: list[float] = []
    sampled = 0
    for arguments in chosen:
        verdict = _is_stale(family, tuple(arguments))
        if verdict is None:
            continue
        sampled += 1
        stale, age_s = verdict
        if stale:
            ages_s.append(age_s)
    family.counts.audited += sampled
    family.counts.audited_stale += len(ages_s)
    return Audit(family.name, sampled, len(ages_s), max(ages_s, default=0.0))


def _is_stale(family: Family[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, float] | None:
    this = ticket(family, arguments)
    try:
        before = assess(family, this, this.runtime.store.read(this.keys))
        if before.state is not State.FRESH or before.envelope is None:
            return None
        payload, _ = run_loader(family, this.key, lambda: family.loader(*arguments))
        after = assess(family, this, this.runtime.store.read(this.keys))
    except family.raises:
        return None
    except (StoreAway, RefreshFailed):
        return None
    if after.generations != before.generations:
        return None
    age_s = max(0.0, runtimes.current().clock() - before.envelope.created_s)
    return payload != before.envelope.payload, age_s
