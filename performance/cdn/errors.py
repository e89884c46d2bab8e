"""What can go wrong between us and an edge."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class InvalidPurge(PerformanceError):
    """A purge that no edge can understand; nothing was sent and nothing was recorded."""

    def __init__(self, target: str, why: str) -> None:
        super().__init__(target, why)
        self.target = target
        self.why = why

    def __str__(self) -> str:
        return f"Cannot purge {self.target!r}: {self.why}"


class NoCdn(PerformanceError):
    """Something was asked of a CDN where none is configured."""

    def __str__(self) -> str:
        return (
            "No CDN is configured, so there is nothing to purge at an edge. "
            "Set CDN_PROVIDER (varnish, cloudfront, cloudflare, fastly or bunny); `purge_cache` "
            "empties our own cache."
        )


class ProviderRefused(PerformanceError):
    """The provider answered, and would not; the same call again gets the same answer."""


class WrongCredentials(ProviderRefused):
    """The key is missing, wrong, or may not purge; only a person can mend that."""


class ProviderUnreachable(PerformanceError):
    """No answer in time, or one that says to come back later; worth another try."""


class LimitReached(ProviderUnreachable):
    """The provider takes no more purges for now; `retry_after_s` is its word, 0 without one."""

    def __init__(self, said: str, retry_after_s: float) -> None:
        super().__init__(said, retry_after_s)
        self.said = said
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.said


class PublishFailed(PerformanceError):
    """Some files did not reach the bucket; the manifest is untouched: nobody sees half a build."""

    def __init__(self, failed: dict[str, str], total: int) -> None:
        super().__init__(failed, total)
        self.failed = failed
        self.total = total

    def __str__(self) -> str:
        name, why = next(iter(self.failed.items()))
        return (
            f"{len(self.failed)} of {self.total} files were not uploaded, first {name}: {why}. "
            "The published build is unchanged; run publish_static again to send what is missing."
        )
