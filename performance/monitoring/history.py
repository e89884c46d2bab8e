"""What charts and tables read: 15 minutes from the bus, longer ranges from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from performance.monitoring import figures, live, reads, rollups, wire
from performance.monitoring.errors import RangeUnknown
from performance.monitoring.merging import Merged, from_rows

LIVE = "15m"
LIVE_S = 900
COLUMNS = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "query_p95_ms",
    "cache_hit_ratio",
    "price_age_p50_s",
    "price_age_p95_s",
    "memory_bytes",
)


@dataclass(frozen=True, slots=True)
class Range:
    """One choice of the page: how long, and from which tier."""

    title: str
    length: timedelta

    @property
    def hours(self) -> bool:
        return self.length > LONGEST_BY_MINUTES


LONGEST_BY_MINUTES = timedelta(hours=12)
SHORTEST = timedelta(minutes=5)
RUNNING = timedelta(minutes=3)
"""How far PostgreSQL may be behind: the minute that runs, and those that just ended."""
LONGEST = timedelta(days=90)
WEEK = timedelta(days=7)
READ_AT_ONCE = timedelta(days=15)
"""A longer range is read in slices, each well within the time that a web node gives a query."""
RANGES = {
    "1h": Range("hour", timedelta(hours=1)),
    "6h": Range("6 hours", timedelta(hours=6)),
    "24h": Range("24 hours", timedelta(hours=24)),
    "7d": Range("7 days", timedelta(days=7)),
    "30d": Range("30 days", timedelta(days=30)),
    "90d": Range("90 days", timedelta(days=90)),
}
NAMES = (LIVE, *RANGES)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time and everything measured in it."""

    begin: datetime
    end: datetime
    step_s: int
    parts: dict[datetime, Merged]

    @property
    def length_s(self) -> float:
        return (self.end - self.begin).total_seconds()

    @property
    def whole(self) -> Merged:
        total = Merged()
        for part in self.parts.values():
            total.add(part)
        return total

    def points(self) -> list[wire.Point]:
        return [
            figures.point(part, sequence=0, at_s=int(at.timestamp()), span_s=self.step_s)
            for at, part in sorted(self.parts.items())
        ]


def title_of(name: str) -> str:
    return RANGES[name].title if name in RANGES else "15 minutes"


def limits_of(name: str, now: datetime) -> tuple[datetime, datetime]:
    """Return begin and end of a named range; raises RangeUnknown."""
    if name == LIVE:
        return now - timedelta(minutes=15), now
    chosen = RANGES.get(name)
    if chosen is None:
        raise RangeUnknown(name, NAMES)
    return now - chosen.length, now


def zoomed(begin_text: str, end_text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return the limits as an address gives them, Unix seconds or ISO; raises RangeUnknown."""
    begin, end = _instant(begin_text), min(_instant(end_text), now)
    if end - begin < SHORTEST:  # as a drag of the mouse may well be
        begin = end - SHORTEST
    if end - begin > LONGEST or begin < now - timedelta(days=400):
        raise RangeUnknown(f"{begin_text} to {end_text}", ("90 days at most, of the last 400",))
    return begin, end


def _instant(text: str) -> datetime:
    try:
        if text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise RangeUnknown(text[:40], ("Unix seconds", "2026-11-24T12:00")) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(begin: datetime, end: datetime, *, endpoint: str | None = None) -> Span:
    """Read a stretch: by minutes up to 12 hours, by hours beyond; one query a 15 days."""
    by_hours = end - begin > LONGEST_BY_MINUTES
    parts: dict[datetime, Merged] = {}
    at = begin
    while at < end:
        upto = min(at + READ_AT_ONCE, end)
        parts |= reads.read(at, upto, hours=by_hours, endpoint=endpoint)
        at = upto
    if by_hours:
        _add_running_hour(parts, end, endpoint)
    elif datetime.now(UTC) - end < rollups.MINUTE:
        _add_running_minutes(parts, end, endpoint)
    return Span(begin, end, 3600 if by_hours else 60, parts)


def _add_running_hour(spans: dict[datetime, Merged], end: datetime, endpoint: str | None) -> None:
    hour = end.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    newest = max(spans, default=hour - rollups.HOUR)
    # At an hour's turn its sum may not be written yet: begin after what is there.
    begin = max(newest + rollups.HOUR, hour - rollups.HOUR)
    for at, minute in reads.read(begin, end, hours=False, endpoint=endpoint).items():
        spans.setdefault(at.replace(minute=0), Merged()).add(minute)


def _add_running_minutes(
    parts: dict[datetime, Merged], end: datetime, endpoint: str | None
) -> None:
    """Add the minutes that PostgreSQL has not got yet, by the seconds on the bus."""
    newest = max(parts, default=end - RUNNING)
    try:
        seconds = live.read_seconds(int(RUNNING.total_seconds()))
    except redis.RedisError:
        return  # what is written still is true; the page says that no second arrives
    added: dict[datetime, Merged] = {}
    for second in seconds:
        at = datetime.fromtimestamp((second.at_s - 1) // 60 * 60, UTC)
        if at > newest:
            part = from_rows(second.series, second.counts, second.gauges)
            added.setdefault(at, Merged()).add(part if endpoint is None else _only(part, endpoint))
    parts |= added


def _only(part: Merged, endpoint: str) -> Merged:
    """What `reads` would give of this endpoint."""
    route = endpoint.partition(" ")[2]
    wanted = {("request", endpoint), ("sql", endpoint), ("sql", route)}
    grown = ("memory_growth", endpoint)
    return Merged(
        {key: row for key, row in part.series.items() if key[:2] in wanted},
        {grown: part.counts[grown]} if grown in part.counts else {},
    )


def week_before(chosen: Span, *, endpoint: str | None = None) -> dict[str, list[Any]]:
    """Return the same stretch a week earlier, as columns under this week's times."""
    before = span(chosen.begin - WEEK, chosen.end - WEEK, endpoint=endpoint)
    found = columns(before.points())
    shift_s = int(WEEK.total_seconds())
    found["times"] = [at_s + shift_s for at_s in found["times"]]
    return found


def columns(points: Sequence[wire.Point]) -> dict[str, list[Any]]:
    """Return the points as columns for charts; None where nothing was measured."""
    return {
        "times": [point.at_s for point in points],
        "per_second": [round(point.requests / point.span_s, 3) for point in points],
        "error_ratio": [
            round(point.errors / point.requests, 5) if point.requests else None for point in points
        ],
        **{name: [getattr(point, name) for point in points] for name in COLUMNS},
    }


def sparkline(times: Sequence[int], values: Sequence[float | None], step_s: int) -> list[str]:
    """Return SVG `points` for a box of 600 x 60, one polyline a stretch without a gap.

    The picture for those without scripts; silence is drawn as a gap, never as a line across.
    """
    known = [value for value in values if value is not None]
    if not known:
        return []
    top, begin = max(known) or 1.0, times[0]
    width_s = max(times[-1] - begin, step_s)
    lines: list[list[str]] = []
    before: int | None = None
    for at_s, value in zip(times, values, strict=True):
        if value is None:
            continue
        if before is None or at_s - before > 1.5 * step_s:
            lines.append([])
        x, y = (at_s - begin) * 600 / width_s, 60 - value * 58 / top
        lines[-1].append(f"{x:.1f},{y:.1f}")
        before = at_s
    return [" ".join(line if len(line) > 1 else line * 2) for line in lines]
