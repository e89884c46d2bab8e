"""What one request has asked of the database: left on the request by whoever counts statements.

Who keeps a slow request takes it from there, and neither room knows the other.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from django.http import HttpRequest


class Statement(NamedTuple):
    """One statement of a request; all that differ in their values alone are one."""

    fingerprint: str
    sql: str
    """Its shape, with ? for each value: no value is ever in it."""
    times: int
    seconds: float
    """Of all these times together."""


class Asked(Protocol):
    def costliest(self, limit: int) -> list[Statement]:
        """Return the statements that took the most time. It may parse: not for each request."""
        ...


def leave(request: HttpRequest, asked: Asked) -> None:
    request._asked_of_the_database = asked  # type: ignore[attr-defined]


def of(request: HttpRequest | None) -> Asked | None:
    """Return what was left on `request`; None where nobody counts."""
    return getattr(request, "_asked_of_the_database", None)
