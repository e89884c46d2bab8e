from __future__ import annotations

from performance.core.errors import PerformanceError


class StatisticsMissing(PerformanceError):
    """The server keeps no statistics of statements, or does not show them to our role."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why, remedy)
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.why} {self.remedy}"


class BackendNotOurs(PerformanceError):
    """A backend that may not be cancelled: gone, another by now, or not a client's."""

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(pid, why)
        self.pid = pid
        self.why = why

    def __str__(self) -> str:
        return f"Backend {self.pid} was left alone: {self.why}"


class CannotExplain(PerformanceError):
    """A statement that is not run under EXPLAIN ANALYZE: nothing of it was executed."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"The statement was not run: {self.why}."
