"""What charts and tables read: 15 minutes from the bus, longer ranges from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from performance.monitoring import figures, rollups, wire
from performance.monitoring.errors import RangeUnknown
from performance.monitoring.merging import Merged

LIVE = "15m"
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
    hours: bool
    """Whether it is read from hours; otherwise from minutes."""

    @property
    def step_s(self) -> int:
        return 3600 if self.hours else 60


RANGES = {
    "1h": Range("1 hour", timedelta(hours=1), hours=False),
    "6h": Range("6 hours", timedelta(hours=6), hours=False),
    "24h": Range("24 hours", timedelta(hours=24), hours=True),
    "7d": Range("7 days", timedelta(days=7), hours=True),
}
NAMES = (LIVE, *RANGES)


def read(name: str, now: datetime) -> dict[str, Any]:
    """Return the columns and the tables of a longer range; one query, two where hours are read.

    Raises RangeUnknown. The hour that still runs is taken from its minutes.
    """
    chosen = RANGES.get(name)
    if chosen is None:
        raise RangeUnknown(name, NAMES)
    begin = now - chosen.length
    spans = rollups.read(begin, now, hours=chosen.hours)
    if chosen.hours:
        _add_running_hour(spans, now)
    whole = Merged()
    for span in spans.values():
        whole.add(span)
    points = [
        figures.point(span, sequence=0, at_s=int(at.timestamp()), span_s=chosen.step_s)
        for at, span in sorted(spans.items())
    ]
    length_s = chosen.length.total_seconds()
    return {
        "range": name,
        "title": chosen.title,
        "step_s": chosen.step_s,
        "length_s": length_s,
        "series": columns(points),
        "endpoints": figures.endpoints(whole, length_s),
        "tasks": figures.tasks(whole),
    }


def _add_running_hour(spans: dict[datetime, Merged], now: datetime) -> None:
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    newest = max(spans, default=hour - rollups.HOUR)
    # At an hour's turn its sum may not be written yet: begin after what is there.
    begin = max(newest + rollups.HOUR, hour - rollups.HOUR)
    for at, minute in rollups.read(begin, now, hours=False).items():
        spans.setdefault(at.replace(minute=0), Merged()).add(minute)


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
