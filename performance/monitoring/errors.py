"""What monitoring refuses on purpose."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class RangeUnknown(PerformanceError):
    """A page or the API was asked for a range of time that is not offered."""

    def __init__(self, given: str, allowed: tuple[str, ...]) -> None:
        super().__init__(given, allowed)
        self.given = given
        self.allowed = allowed

    def __str__(self) -> str:
        return f"range is {self.given!r}; it must be one of: {', '.join(self.allowed)}."


class Superseded(PerformanceError):
    """Another monitor has written what this one was about to write; this one stops leading."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"Another monitor has already written {self.what}; this one stands by."


class AlertActRefused(PerformanceError):
    """An alert cannot be acknowledged or silenced as asked."""
