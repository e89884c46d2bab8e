"""What monitoring refuses on purpose."""

from __future__ import annotations

from collections.abc import Sequence

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


class BadInput(PerformanceError):
    """The API was asked or told something it cannot take; the answer is a 4xx that says which."""

    def __init__(
        self,
        field: str,
        value: object,
        allowed: Sequence[str] | str,
        message: str = "",
        status: int = 400,
    ) -> None:
        super().__init__(field, value, allowed, message, status)
        self.field = field
        self.value = value
        self.allowed = allowed
        """The values that would have been taken, or words that describe them."""
        self.message = message
        self.status = status

    def __str__(self) -> str:
        if self.message:
            return self.message
        if isinstance(self.allowed, str):
            return f"{self.field} is {self.value!r}; it must be {self.allowed}."
        return f"{self.field} is {self.value!r}; it must be one of: {', '.join(self.allowed)}."


class AddressRefused(PerformanceError):
    """A webhook's address is not one that we send to."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        shown = self.url.split("?")[0][:120]
        return (
            f"{shown!r} is not taken: {self.why}. Allowed are https addresses on the open "
            "internet, and the networks of PERFORMANCE['MONITORING']['webhook_networks']."
        )
