"""How often a month's credits allow to ask. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def cost(markets: int, regions: int) -> int:
    """Return the credits of one call of `/odds` that brings at least one event."""
    return markets * regions


def next_reset(now: datetime) -> datetime:
    """Return the first of the next month, 00:00 UTC, when the provider counts anew.

    >>> next_reset(datetime(2026, 12, 24, 18, tzinfo=UTC)).isoformat()
    '2027-01-01T00:00:00+00:00'
    """
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def interval_s(
    remaining: int | None,
    *,
    a_call: int,
    sports: int,
    reserve: int,
    now: datetime,
    least_s: float,
    most_s: float,
) -> float | None:
    """Return after how many seconds one sport may be asked again; None: no credits are left.

    The credits above `reserve` are spread evenly over the time to the next reset and over the
    sports. Before the provider has said what remains (`remaining` is None), it is `least_s`.
    """
    if remaining is None:
        return least_s
    calls = (remaining - reserve) // a_call
    if calls < 1:
        return None
    left_s = (next_reset(now) - now).total_seconds()
    return min(most_s, max(least_s, left_s / calls * sports))
