"""Which alerts are held back now, by a silence or in a mute window. Pure, but for `load`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from performance.monitoring.gauging import selects
from performance.monitoring.models import AlertRule, AlertSilence, MuteWindow
from performance.monitoring.quiet_models import WEEKDAYS, Matcher

Measure = AlertRule.Measure
ABOUT_ROUTES = frozenset({Measure.RESPONSE_TIME, Measure.QUERY_TIME, Measure.ERROR_RATE})
"""The metrics whose subject is a route."""
ABOUT_NODES = frozenset({Measure.MEMORY, Measure.NODE_SILENCE})
"""The metrics whose subject is a node."""


class Hold(NamedTuple):
    """Why nobody is told of an alert, and until when."""

    until: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """The silences that are on, and all mute windows."""

    silences: Sequence[AlertSilence] = ()
    windows: Sequence[MuteWindow] = ()

    def hold(self, rule: AlertRule, subject: str, now: datetime) -> Hold | None:
        """Return what holds an alert of `rule` about `subject` back for the longest, if anything.

        `subject` is the worst key when it fired.
        """
        holds = [
            Hold(silence.ends_at, f"silenced by {silence.by or 'somebody'}: {silence.reason}")
            for silence in self.silences
            if silence.starts_at <= now < silence.ends_at and matches(silence, rule, subject)
        ]
        for window in self.windows:
            until = end_of_window(window, now)
            if until is not None and matches(window, rule, subject):
                holds.append(Hold(until, f"in the mute window {window.name}"))
        return max(holds, default=None)


def load(now: datetime) -> Quiet:
    """Return what is quiet at `now`; two queries."""
    silences = AlertSilence.objects.filter(starts_at__lte=now, ends_at__gt=now)
    return Quiet(list(silences), list(MuteWindow.objects.filter(enabled=True)))


def matches(matcher: Matcher, rule: AlertRule, subject: str) -> bool:
    """Whether an alert is meant. One that is about no route has none to match, and so for nodes."""
    if not may_match(matcher, rule):
        return False
    if not subject and (matcher.route or matcher.node):
        return False  # it is without data, so about nothing in particular
    if matcher.route and not selects(matcher.route, subject, subject.partition(" ")[2]):
        return False
    return not matcher.node or selects(matcher.node, subject)


def may_match(matcher: Matcher, rule: AlertRule) -> bool:
    """Whether some alert of `rule` could be meant, whatever it is about."""
    return (
        matcher.rule_id in (None, rule.pk)
        and matcher.severity in ("", rule.severity)
        and (not matcher.route or rule.metric in ABOUT_ROUTES)
        and (not matcher.node or rule.metric in ABOUT_NODES)
    )


def state_of(silence: AlertSilence, now: datetime) -> str:
    """Return `planned`, `on` or `over`."""
    if silence.ends_at <= now:
        return "over"
    return "planned" if silence.starts_at > now else "on"


def end_of_window(window: MuteWindow, now: datetime) -> datetime | None:
    """Return when the window that is open at `now` closes; None when it is not open."""
    open_ = [end for begin, end in _around(window, now) if begin <= now < end]
    return max(open_, default=None)


def next_window(window: MuteWindow, now: datetime) -> datetime:
    """Return when it opens the next time after `now`."""
    return min(begin for begin, _ in _around(window, now) if begin > now)


def _around(window: MuteWindow, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return the openings from yesterday to a week ahead, in UTC: so summer time costs no hour."""
    zone = ZoneInfo(window.zone)
    today = now.astimezone(zone).date()
    found = []
    for ahead in range(-1, 9):
        day = today + timedelta(days=ahead)
        if WEEKDAYS[day.weekday()] not in window.days:
            continue
        last = day if window.ends > window.begins else day + timedelta(days=1)
        begin = datetime.combine(day, window.begins, zone).astimezone(UTC)
        found.append((begin, datetime.combine(last, window.ends, zone).astimezone(UTC)))
    return found
