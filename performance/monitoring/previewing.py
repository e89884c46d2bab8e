"""What a rule would have done in the last day: the same steps over the minutes that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from performance.monitoring import alerting, burning, gauging, reads, rollups, usual
from performance.monitoring.gauging import NOTHING, Reading
from performance.monitoring.merging import Merged
from performance.monitoring.models import AlertRule
from performance.monitoring.stepping import Standing, State, event_between, step

DAY = timedelta(days=1)
SLICE = timedelta(hours=6)
BEGINS = ("fired", "no_data")
ENDS = ("cleared", "data_back")


@dataclass(slots=True)
class Firing:
    """One alarm there would have been; `end` is None when it would still be on."""

    begin: datetime
    end: datetime | None
    value_text: str
    no_data: bool = False


@dataclass(slots=True)
class Preview:
    """Values are by minute, so a `for_s` below 60 is looked at once a minute only."""

    minutes: int = 0
    measured: int = 0
    lowest: float | None = None
    highest: float | None = None
    firings: list[Firing] = field(default_factory=list)
    impossible: str = ""

    def in_words(self) -> str:
        if self.impossible:
            return self.impossible
        if not self.measured:
            return "Nothing that it watches was measured in the last day."
        times = {0: "not have fired", 1: "have fired once"}.get(
            len(self.firings), f"have fired {len(self.firings)} times"
        )
        return f"In the last day it would {times}."


def preview(rule: AlertRule, now: datetime | None = None) -> Preview:
    """Run `rule`, saved or not, over the last 24 hours; four or five queries, about half a second.

    Whole days of a busy site are read, so it is for a person who asks, not for a loop.
    """
    now = (now or datetime.now(UTC)).replace(second=0, microsecond=0)
    if rule.metric == AlertRule.Measure.NODE_SILENCE:
        return Preview(impossible="The silence of nodes is not kept by the minute: no preview.")
    found = Preview()
    rules, standing = alerting.thresholds(rule), Standing(since_s=0.0)
    for at, reading in _readings(rule, now):
        found.minutes += 1
        if reading.value is not None:
            found.measured += 1
            found.lowest = min(reading.value, found.lowest or reading.value)
            found.highest = max(reading.value, found.highest or reading.value)
        after = step(rules, standing, reading.value, at.timestamp())
        _note(found, rule, event_between(standing.state, after.state), at, reading)
        if after.state == State.OK and found.firings and found.firings[-1].end is None:
            found.firings[-1].end = at
        standing = after
    return found


def _note(
    found: Preview, rule: AlertRule, event: str | None, at: datetime, reading: Reading
) -> None:
    if event in BEGINS:
        text = alerting.in_words(rule, reading.value)
        found.firings.append(Firing(at, None, text, no_data=event == "no_data"))


def _readings(rule: AlertRule, now: datetime) -> Iterator[tuple[datetime, Reading]]:
    """Yield every minute of the day, measured or not."""
    begin = now - DAY
    budgets = bands = None
    if rule.metric == AlertRule.Measure.ERROR_BUDGET:
        budgets = burning.seeded({(0, ""): rule}, begin)[0, ""]
    if rule.basis == AlertRule.Basis.WEEK:
        hours = [usual.start_of_hour(begin) + timedelta(hours=n) for n in range(25)]
        bands = usual.bands([rule], hours)
    at = begin
    spans: dict[datetime, Merged] = {}
    while at < now:
        if not (at - begin) % SLICE:
            spans = reads.read(at, min(at + SLICE, now), hours=False)
        span = spans.get(at)
        reading = NOTHING if span is None else gauging.read(rule, span, 60, {})
        if budgets is not None:
            budgets.add(int(at.timestamp()), *burning.judge(rule, span or Merged()))
            reading = budgets.reading(rule, int(at.timestamp()))
        if bands is not None and reading.value is not None:
            band = bands[rule.pk or 0, usual.start_of_hour(at)]
            reading = NOTHING if band is None else Reading(band.distance(reading.value), "")
        yield at, reading
        at += rollups.MINUTE
