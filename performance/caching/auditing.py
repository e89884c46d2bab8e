"""The auditor: recomputes samples of what is being served, and says how much of it was wrong."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from performance.caching import changes
from performance.caching import runtime as runtimes
from performance.caching.copies import assess, ticket
from performance.caching.envelope import State
from performance.caching.errors import RefreshFailed, StoreAway
from performance.caching.families import Family
from performance.caching.loading import run_loader

GRACE_S = 0.3
"""How long after COMMIT the invalidation may take to arrive before a value counts as wrong."""


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

    Nothing is written. Not counted are values that are invalidated while they are recomputed or
    right after, and those that carry no tag of their own: they promise only their lifetime.
    """
    return [_audit(family, samples) for family in families if family.warm is not None]


def _audit(family: Family[..., Any], samples: int) -> Audit:
    assert family.warm is not None
    try:
        candidates = list(family.warm())
    except RefreshFailed:  # what it would warm cannot be read now: there is nothing to compare
        return Audit(family.name, 0, 0, 0.0)
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
    """Return whether the stored value is wrong, and its age; None when it cannot be judged."""
    this = ticket(family, arguments)
    if this.tags == (family.own_tag,):
        return None
    try:
        before = assess(family, this, this.runtime.store.read(this.keys))
        if before.state is not State.FRESH or before.envelope is None:
            return None
        payload = run_loader(family, this.key, lambda: family.loader(*arguments)).payload
        wrong = _read(family, payload) != _read(family, before.envelope.payload)
        if wrong:
            time.sleep(GRACE_S)
        after = assess(family, this, this.runtime.store.read(this.keys))
    except family.raises:
        return None
    except (StoreAway, RefreshFailed):
        return None
    if after.generations != before.generations:
        return None
    age_s = max(0.0, runtimes.current().clock() - before.envelope.created_s)
    return wrong, age_s


def _read(family: Family[..., Any], payload: bytes) -> Any:
    return changes.told(family, family.codec.hold(payload))
