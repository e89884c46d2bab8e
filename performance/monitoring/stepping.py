"""The state of an alert as a pure function of its value and the time.

Fire and clear thresholds differ (hysteresis), firing needs `for_s` beyond, ending needs
`keep_firing_s` well: a value that flaps does not flap the alert. Missing data is a case of its
own: silence never ends an alert unless the rule says that silence is well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVING = "resolving"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The part of a rule that decides. Times in seconds, levels in the metric's unit."""

    above: bool
    fire_at: float
    clear_at: float
    for_s: float
    keep_firing_s: float
    no_data: str
    """`ok`, `keep` or `alert`."""

    def is_beyond(self, value: float) -> bool:
        return value > self.fire_at if self.above else value < self.fire_at

    def is_well(self, value: float) -> bool:
        return value <= self.clear_at if self.above else value >= self.clear_at


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alert is. `since_s` and `missing_since_s` are of the same clock as `now_s`."""

    state: State = State.OK
    since_s: float = 0.0
    missing_since_s: float | None = None


def step(rule: Thresholds, standing: Standing, value: float | None, now_s: float) -> Standing:
    """Return where the alert is after one more look. `now_s` never goes back; NaN is no value."""
    if value is None or value != value:
        return _without_value(rule, standing, now_s)
    standing = replace(standing, missing_since_s=None)
    match standing.state:
        case State.OK | State.NO_DATA:
            if not rule.is_beyond(value):
                return _to(State.OK, standing, now_s)
            return _to(State.PENDING if rule.for_s > 0 else State.FIRING, standing, now_s)
        case State.PENDING:
            if not rule.is_beyond(value):
                return _to(State.OK, standing, now_s)
            waited = now_s - standing.since_s >= rule.for_s
            return _to(State.FIRING, standing, now_s) if waited else standing
        case State.FIRING:
            if not rule.is_well(value):
                return standing
            return _to(State.RESOLVING if rule.keep_firing_s > 0 else State.OK, standing, now_s)
        case State.RESOLVING:
            if not rule.is_well(value):
                return _to(State.FIRING, standing, now_s)
            waited = now_s - standing.since_s >= rule.keep_firing_s
            return _to(State.OK, standing, now_s) if waited else standing


def _without_value(rule: Thresholds, standing: Standing, now_s: float) -> Standing:
    if rule.no_data == "ok":
        # Silence is well: the same way back as for a good value.
        return step(rule, standing, rule.clear_at, now_s)
    since_s = now_s if standing.missing_since_s is None else standing.missing_since_s
    standing = replace(standing, missing_since_s=since_s)
    if (
        rule.no_data == "alert"
        and standing.state in (State.OK, State.PENDING)
        and now_s - since_s >= rule.for_s
    ):
        return _to(State.NO_DATA, standing, now_s)
    return standing


def _to(state: State, standing: Standing, now_s: float) -> Standing:
    return standing if state == standing.state else replace(standing, state=state, since_s=now_s)


def event_between(before: State, after: State) -> str | None:
    """Name what people hear of a change: fired, cleared, no_data, data_back; None for nothing.

    Going to and fro between firing and resolving is one alert, and told once.
    """
    alarmed = (State.FIRING, State.RESOLVING)
    if after == State.FIRING and before not in alarmed:
        return "fired"
    if before in alarmed and after == State.OK:
        return "cleared"
    if after == State.NO_DATA and before != State.NO_DATA:
        return "no_data"
    if before == State.NO_DATA and after == State.OK:
        return "data_back"
    return None
