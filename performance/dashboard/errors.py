"""What keeps an act from running, each with its remedy."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class AuditUnavailable(PerformanceError):
    """The audit could not be written, so the act was not run."""

    def __init__(self, act: str) -> None:
        super().__init__(act)
        self.act = act

    def __str__(self) -> str:
        return (
            f"{self.act} was not run, because the audit could not be written: every act is "
            "recorded first. See that PostgreSQL answers and has space, then try again."
        )


class KeyTaken(PerformanceError):
    """The form's key belongs to another act or another person."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"The key {self.key!r} of this form is used by another act. Nothing was run; "
            "reload the page for a fresh form."
        )
