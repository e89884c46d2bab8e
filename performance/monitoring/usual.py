"""What is usual for an hour of the week, and how far off a value is.

The same hour of the same weekday, and its neighbours, over the last eight weeks: median and MAD,
which a few wild days do not move. A value is then told in deviations, as a z-score would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import NamedTuple

from performance.monitoring import reads
from performance.monitoring.gauging import NOTHING, Reading, read
from performance.monitoring.models import AlertRule

WEEKS = 8
NEIGHBOURS = (-1, 0, 1)
ENOUGH = 6
"""Hours of the past, fewer of which say nothing of what is usual."""
MAD_TO_DEVIATION = 1.4826
"""For a normal distribution (Rousseeuw and Croux, 1993)."""
SMALLEST_SHARE = 0.05
"""Of the median: a past without any spread must not make every change a wonder."""
HOUR_S = 3600


class Band(NamedTuple):
    middle: float
    deviation: float

    def distance(self, value: float) -> float:
        return (value - self.middle) / self.deviation


def band(values: Iterable[float]) -> Band | None:
    """Return the band of past values; None when they are too few.

    >>> band([10, 11, 9, 10, 12, 500]).middle
    10.5
    """
    known = list(values)
    if len(known) < ENOUGH:
        return None
    middle = median(known)
    spread = median(abs(value - middle) for value in known) * MAD_TO_DEVIATION
    return Band(middle, max(spread, abs(middle) * SMALLEST_SHARE, 1e-9))


def hours_alike(hour: datetime) -> list[datetime]:
    """Return the past hours that tell what is usual in `hour`."""
    return [
        hour - timedelta(weeks=week) + timedelta(hours=shift)
        for week in range(1, WEEKS + 1)
        for shift in NEIGHBOURS
    ]


def bands(
    rules: Iterable[AlertRule], hours: Iterable[datetime]
) -> dict[tuple[int, datetime], Band | None]:
    """Return each rule's band in each of these hours, by `(rule.pk, hour)`; one query."""
    alike = {hour: hours_alike(hour) for hour in hours}
    spans = reads.read_at(sorted({past for row in alike.values() for past in row}), hours=True)
    found: dict[tuple[int, datetime], Band | None] = {}
    for rule in rules:
        values = {at: read(rule, span, HOUR_S, {}).value for at, span in spans.items()}
        for hour, past in alike.items():
            known = [values.get(at) for at in past]
            found[rule.pk or 0, hour] = band(value for value in known if value is not None)
    return found


class Usual:
    """The bands of this hour and the next. The keeper loads, the roller reads."""

    def __init__(self) -> None:
        self._bands: Mapping[tuple[int, datetime], Band | None] = {}

    def follow(self, rules: Mapping[int, AlertRule]) -> None:
        """Load what is missing: once an hour, and when a rule is new."""
        wanted = [rule for rule in rules.values() if rule.basis == AlertRule.Basis.WEEK]
        hour = start_of_hour(datetime.now(UTC))
        hours = [hour, hour + timedelta(hours=1)]
        if any((rule.pk, each) not in self._bands for rule in wanted for each in hours):
            self._bands = bands(wanted, hours)

    def reading(self, rule: AlertRule, value: Reading, at: datetime) -> Reading:
        """Return the value in deviations; None where the past says too little."""
        usual = self._bands.get((rule.pk or 0, start_of_hour(at)))
        if value.value is None or usual is None:
            return NOTHING
        return Reading(usual.distance(value.value), value.subject)


def start_of_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
