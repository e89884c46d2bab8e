"""A request that cannot be answered as asked: which field, what it held, and what it may hold."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from odds.errors import OddsError


class BadRequest(OddsError):
    """Raised for wrong input from outside; views and API turn it into a 4xx that says all of it."""

    def __init__(
        self,
        field: str,
        value: object,
        message: str,
        allowed: Sequence[str] | str = (),
        status: int = 400,
    ) -> None:
        super().__init__(field, value, message, allowed, status)
        self.field = field
        self.value = value
        self.message = message
        self.allowed = allowed
        """The values that would have been taken, or a sentence that describes them."""
        self.status = status

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, Any]:
        allowed = self.allowed if isinstance(self.allowed, str) else list(self.allowed)
        return {
            "error": {
                "field": self.field,
                "value": self.value,
                "allowed": allowed,
                "message": self.message,
            }
        }


def unknown(field: str, value: str, known: Sequence[str], *, what: str) -> BadRequest:
    """Return the 404 for a name that nothing has, with the nearest names that something has."""
    near = get_close_matches(value, known, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return BadRequest(field, value, f"There is no {what} {value!r}.{hint}", near or known[:20], 404)
