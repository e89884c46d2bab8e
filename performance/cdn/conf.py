"""The options of the CDN room."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load

PROVIDERS = ("", "varnish", "cloudfront")


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnConf:
    """The options of `PERFORMANCE["CDN"]`. Times are in seconds, sizes in bytes."""

    provider: str = ""
    """Who keeps our answers at the edge: `varnish`, `cloudfront`, or empty for nobody."""
    base_url: str = ""
    """Where browsers fetch static files, such as `https://d1.cloudfront.net`; empty: the origin."""
    varnish_urls: tuple[str, ...] = ()
    """Each Varnish's own address, such as `http://10.0.0.5:6081`; every one is told of a purge."""
    distribution_id: str = ""
    """CloudFront's distribution."""
    timeout_s: float = 5.0
    """How long one call to a provider may take."""
    purge_every_s: float = 1.0
    """A process purges what the cache invalidates at most so often, all tags together. CloudFront
    bills every path and takes seconds: there a minute is enough, for answers that live 5 s."""
    max_attempts: int = 8
    """After so many failed deliveries a purge is given up and stands in the ledger as failed."""
    probe_path: str = "/healthz"
    """What the health probe asks of `base_url`."""
    probe_timeout_s: float = 2.0
    unhealthy_after: int = 2
    """Failed probes in a row that take the CDN out of the URLs."""
    healthy_after: int = 3
    """Good probes in a row that bring it back."""
    bucket: str = ""
    """S3 bucket that static files are published to; empty: they stay on the origin's disk."""
    s3_endpoint: str = ""
    """Another S3 than Amazon's, such as `http://127.0.0.1:8333`."""
    upload_threads: int = 16
    keep_builds: int = 3
    """Builds whose files stay reachable, so that a page from before a deployment still works."""

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            allowed = ", ".join(name or "(empty)" for name in PROVIDERS)
            raise ImproperlyConfigured(
                f"PERFORMANCE['CDN']['provider'] is {self.provider!r} (CDN_PROVIDER); "
                f"it must be one of: {allowed}."
            )
        if self.provider == "varnish" and not self.varnish_urls:
            raise ImproperlyConfigured(
                "PERFORMANCE['CDN'] names varnish but no 'varnish_urls'; purges would go nowhere. "
                "Set CDN_VARNISH_URLS."
            )
        if self.provider == "cloudfront" and not self.distribution_id:
            raise ImproperlyConfigured(
                "PERFORMANCE['CDN'] names cloudfront but no 'distribution_id'. "
                "Set CDN_DISTRIBUTION_ID."
            )
        if self.keep_builds < 1:
            raise ImproperlyConfigured(
                f"PERFORMANCE['CDN']['keep_builds'] is {self.keep_builds}; it must be 1 or more."
            )


def conf() -> CdnConf:
    return load(CdnConf, "CDN")
