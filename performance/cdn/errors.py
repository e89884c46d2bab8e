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


class BucketRefused(PerformanceError):
    """The bucket cannot be listed, so nobody knows what it lacks; nothing was sent."""

    def __init__(self, bucket: str, why: str) -> None:
        super().__init__(bucket, why)
        self.bucket = bucket
        self.why = why

    def __str__(self) -> str:
        return (
            f"The bucket {self.bucket!r} cannot be read ({self.why}), so nothing was sent. Check "
            "STATIC_S3_BUCKET, STATIC_S3_ENDPOINT and the AWS keys, which must list, put and "
            "delete there."
        )


class BuildFailed(PerformanceError):
    """The static files cannot be built; what was published before stands as it is."""


class MissingAssets(BuildFailed):
    """Static files that name files which are not there; browsers would meet a 404."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        more = len(self.missing) - 5
        lines = "\n".join(f"  {line}" for line in self.missing[:5])
        rest = f"\n  and {more} more" if more > 0 else ""
        return f"Static files name others that are not there:\n{lines}{rest}"


class MinifyFailed(BuildFailed):
    """esbuild could not read a file; its message names the file and the line."""

    def __str__(self) -> str:
        return f"CSS and JS were not made smaller: {self.args[0].strip()}"


class PictureRefused(BuildFailed):
    """A file that is called a picture cannot be made into others."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return (
            f"{self.path} is no picture that can be used ({self.why}). "
            "It must be a whole PNG or JPEG of reasonable size."
        )


class TooHeavy(BuildFailed):
    """Pages whose styles and scripts weigh more than their budget."""

    def __init__(self, pages: list[str]) -> None:
        super().__init__(pages)
        self.pages = pages

    def __str__(self) -> str:
        return (
            "Too heavy: "
            + "; ".join(self.pages)
            + (". Load less at once, or raise PERFORMANCE['CDN']['page_budgets'].")
        )
