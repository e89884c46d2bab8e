"""What `odds` raises on purpose. Each message names the thing, its value and the remedy."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class OddsError(PerformanceError):
    """The root of what `odds` raises."""


class FeedRefused(OddsError):
    """A source answered something that cannot be taken; nothing of it was stored."""

    def __init__(self, source: str, reason: str, sample: str = "") -> None:
        super().__init__(source, reason, sample)
        self.source = source
        self.reason = reason
        self.sample = sample
        """The beginning of what was received, without secrets."""

    def __str__(self) -> str:
        return f"{self.source} sent what cannot be taken: {self.reason}"


class FeedUnavailable(OddsError):
    """A source could not be asked now; asking again later may help."""

    def __init__(self, source: str, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(source, reason, retry_after_s)
        self.source = source
        self.reason = reason
        self.retry_after_s = retry_after_s
        """When the source itself said how long to wait; None leaves it to the backoff."""

    def __str__(self) -> str:
        return f"{self.source} is not answering: {self.reason}"


class FeedMisconfigured(OddsError):
    """A feed cannot run as it is set up; the message says what to change."""


class ImportStopped(OddsError):
    """The second process of an import ended before its file did."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.file} was not imported to its end: {self.reason}. What was stored is whole "
            "batches; import again to complete it, which changes nothing else."
        )
