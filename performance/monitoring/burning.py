"""How fast the error budget of an objective burns, over several windows at once.

After the multi-window, multi-burn-rate alerts of Google's SRE workbook, chapter 5: an objective of
99.9 % leaves 0.1 % to be bad; a burn of 1 uses that up in just the objective's period. A pair
fires when its long window says that it matters and its short one that it still goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from performance.monitoring import reads
from performance.monitoring.gauging import ENOUGH, NOTHING, Reading, matches
from performance.monitoring.histogram import Histogram, bucket_of
from performance.monitoring.merging import Merged
from performance.monitoring.models import AlertRule

PAIRS = {
    "fast": ((14.4, 60, 5), (6.0, 360, 30)),
    "slow": ((1.0, 3 * 24 * 60, 120),),
}
"""(factor, long window, short window), windows in minutes."""
LONGEST_MIN = 3 * 24 * 60
SLICE = timedelta(hours=6)
ANEW_EVERY_S = 5
"""Windows of days are not summed again each second."""


class Budget:
    """Good and bad requests of one rule by minute, three days of them; about 0.5 MB at most."""

    def __init__(self) -> None:
        self._minutes: dict[int, list[int]] = {}
        self._known: tuple[int, Reading] = (-ANEW_EVERY_S, NOTHING)

    def add(self, at_s: int, bad: int, total: int) -> None:
        if not total:
            return
        slot = self._minutes.setdefault(at_s // 60, [0, 0])
        slot[0] += bad
        slot[1] += total
        if len(self._minutes) > LONGEST_MIN + 60:
            oldest = at_s // 60 - LONGEST_MIN
            self._minutes = {at: row for at, row in self._minutes.items() if at >= oldest}

    def reading(self, rule: AlertRule, at_s: int) -> Reading:
        """Return the burn over the rule's factor, of its worst pair: at 1 it should fire."""
        if at_s - self._known[0] >= ANEW_EVERY_S or at_s < self._known[0]:
            self._known = (at_s, self._read(rule, at_s))
        return self._known[1]

    def _read(self, rule: AlertRule, at_s: int) -> Reading:
        worst = NOTHING
        for factor, long_min, short_min in PAIRS[rule.burn]:
            burns = [self._burn(rule, at_s, minutes) for minutes in (long_min, short_min)]
            if burns[0] is None or burns[1] is None:
                continue
            value = min(burns[0], burns[1]) / factor
            if worst.value is None or value > worst.value:
                worst = Reading(value, f"{factor:g}x over {_in_words(long_min)}")
        return worst

    def _burn(self, rule: AlertRule, at_s: int, minutes: int) -> float | None:
        assert rule.objective is not None
        newest = at_s // 60
        bad = total = 0
        if minutes > len(self._minutes):
            rows: Iterable[list[int]] = (
                row for at, row in self._minutes.items() if newest - minutes < at <= newest
            )
        else:
            rows = (
                self._minutes[at]
                for at in range(newest - minutes + 1, newest + 1)
                if at in self._minutes
            )
        for row in rows:
            bad += row[0]
            total += row[1]
        return bad / total / (1 - rule.objective) if total >= ENOUGH else None


def judge(rule: AlertRule, span: Merged) -> tuple[int, int]:
    """Return how many of the rule's requests were bad, and how many there were."""
    bad = total = 0
    for (kind, key, status), row in span.series.items():
        if kind == "request" and matches(rule, key):
            total += row.n
            bad += row.n if status == "5xx" else _slower(row, rule.slow_ms)
    return bad, total


def _slower(row: Histogram, slow_ms: float | None) -> int:
    """Count what certainly was slower: the limit's own bucket, 4.4 % wide, counts as good."""
    if slow_ms is None:
        return 0
    limit = bucket_of(slow_ms / 1000)
    return sum(count for index, count in row.buckets.items() if index > limit)


class Budgets:
    """The budgets of all such rules. The keeper seeds, the roller adds and reads."""

    def __init__(self) -> None:
        self._budgets: dict[tuple[int, str], Budget] = {}
        self._rules: dict[tuple[int, str], AlertRule] = {}

    def follow(self, rules: Mapping[int, AlertRule]) -> None:
        """Take up new rules with what PostgreSQL has of them, and let go of the others.

        A rule that is new to a running monitor lacks the minutes that are not written yet.
        """
        wanted = {
            _identity(rule): rule
            for rule in rules.values()
            if rule.metric == AlertRule.Measure.ERROR_BUDGET
        }
        fresh = {name: rule for name, rule in wanted.items() if name not in self._budgets}
        budgets = {name: one for name, one in self._budgets.items() if name in wanted}
        if fresh:
            budgets |= seeded(fresh, datetime.now(UTC))
        self._budgets, self._rules = budgets, wanted

    def add(self, at_s: int, second: Merged) -> None:
        budgets = self._budgets
        for name, rule in self._rules.items():
            budget = budgets.get(name)
            if budget is not None:
                budget.add(at_s, *judge(rule, second))

    def reading(self, rule: AlertRule, at_s: int) -> Reading:
        budget = self._budgets.get(_identity(rule))
        return NOTHING if budget is None else budget.reading(rule, at_s)


def seeded(
    rules: Mapping[tuple[int, str], AlertRule], now: datetime
) -> dict[tuple[int, str], Budget]:
    """Return the budgets of the last three days; a query for each six hours."""
    budgets = {name: Budget() for name in rules}
    begin = now - timedelta(minutes=LONGEST_MIN)
    while begin < now:
        upto = min(begin + SLICE, now)
        for at, span in reads.read(begin, upto, hours=False, kind="request").items():
            for name, rule in rules.items():
                budgets[name].add(int(at.timestamp()), *judge(rule, span))
        begin = upto
    return budgets


def _identity(rule: AlertRule) -> tuple[int, str]:
    """What a budget depends on: a rule that is edited is counted anew."""
    return (rule.pk or 0, f"{rule.selector}|{rule.slow_ms}")


def _in_words(minutes: int) -> str:
    return f"{minutes // 1440} d" if minutes >= 1440 else f"{minutes // 60} h"
