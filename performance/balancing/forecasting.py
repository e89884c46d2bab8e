"""What this time of the week usually asks for: one number each ten minutes, smoothed over weeks.

Sport has a calendar: Saturday at three is like the Saturday before. A slot that was seen in two
weeks or more speaks for its time; it only ever adds nodes, ahead of the hour, and never stops any.
"""

from __future__ import annotations

import logging
import math
from datetime import datetime, timedelta

from django.db import transaction

from performance.balancing.models import DemandSlot

logger = logging.getLogger(__name__)

SLOT_S = 600
SLOTS = 7 * 86_400 // SLOT_S
NEWEST_WEIGHT = 0.4
"""Of the newest week, against all before it: three weeks ago counts for a fifth."""
ENOUGH_WEEKS = 2


def slot_of(at: datetime) -> int:
    """Return the ten minutes of the week, 0 to 1007, from Monday 00:00 UTC.

    >>> slot_of(datetime(2026, 1, 5, 0, 9)), slot_of(datetime(2026, 1, 11, 23, 59))
    (0, 1007)
    """
    return (at.weekday() * 86_400 + at.hour * 3_600 + at.minute * 60 + at.second) // SLOT_S


class Forecast:
    """Learns the demand of one kind as it passes, and says what is usual `ahead_s` from now."""

    def __init__(self, kind: str, ahead_s: float) -> None:
        self._kind = kind
        self._ahead = timedelta(seconds=ahead_s)
        self._slot: int | None = None
        self._sum = 0.0
        self._seen = 0
        self._answered: tuple[int, float | None] | None = None

    def look(self, demand: int, at: datetime) -> None:
        """Take in one sample; when its ten minutes are over their mean is kept. One upsert then."""
        slot = slot_of(at)
        if self._slot is not None and slot != self._slot:
            if slot == (self._slot + 1) % SLOTS:  # a jump means that half of it was not seen
                learn(self._kind, self._slot, self._sum / self._seen)
            self._sum, self._seen = 0.0, 0
        self._slot = slot
        self._sum += demand
        self._seen += 1

    def demand(self, at: datetime) -> float | None:
        """Return the usual demand at `at` + ahead; None until two weeks know. One query a slot."""
        slot = slot_of(at + self._ahead)
        if self._answered is None or self._answered[0] != slot:
            found = DemandSlot.objects.filter(kind=self._kind, slot=slot).first()
            known = found is not None and found.weeks >= ENOUGH_WEEKS
            self._answered = (slot, found.mean if known and found else None)
        return self._answered[1]


def learn(kind: str, slot: int, mean: float) -> None:
    """Blend one week's mean into its slot; killed before the COMMIT, that week is left out."""
    with transaction.atomic():
        row, new = DemandSlot.objects.select_for_update().get_or_create(
            kind=kind, slot=slot, defaults={"mean": mean, "weeks": 1}
        )
        if not new:
            row.mean = NEWEST_WEIGHT * mean + (1 - NEWEST_WEIGHT) * row.mean
            row.weeks += 1
            row.save(update_fields=["mean", "weeks"])


def nodes_for(demand: float, slots: int, utilisation: float) -> int:
    """Return the nodes of which this demand takes the target share.

    >>> nodes_for(28, slots=10, utilisation=0.7)
    4
    """
    return math.ceil(round(demand / (slots * utilisation), 6))
