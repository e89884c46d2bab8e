"""How often a family's values really change: each refresh is held against the value before it.

What an invalidation ended is not compared: that change was told. What is found here, no tag told.
One refresh a second and family is compared, since a page takes as long to compare as to draw.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from performance.caching.copies import Found
from performance.caching.envelope import Envelope

if TYPE_CHECKING:
    from performance.caching.families import Family

logger = logging.getLogger(__name__)

COMPARED_EVERY_S = 1.0


def note(family: Family[..., Any], before: Envelope | None, found: Found) -> None:
    """Count a refresh, and whether it found another value. Costs one decoding; never raises."""
    if before is None or 0 <= found.created_s - family.compared_s < COMPARED_EVERY_S:
        return
    family.compared_s = found.created_s
    try:
        old = family.codec.hold(before.payload)
    except msgspec.MsgspecError:
        return  # counted as unreadable where it was read
    counts = family.counts
    counts.compared += 1
    counts.compared_ms += int(max(0.0, found.created_s - before.created_s) * 1000)
    try:
        new = family.codec.kept(found.held)
        counts.changed += old != new and told(family, old) != told(family, new)
    except Exception:  # `audited` is the family's own; the value that was computed is not its fault
        logger.exception("The audited function of family %r failed.", family.name)


def told(family: Family[..., Any], held: Any) -> Any:
    """Return what a held value says, without what differs at each computation."""
    return held if family.audited is None else family.audited(family.codec.give(held))
