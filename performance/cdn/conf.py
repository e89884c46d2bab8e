"""The options of the CDN room."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load

NEEDS = {
    "": {},
    "varnish": {"varnish_urls": "CDN_VARNISH_URLS"},
    "cloudfront": {"distribution_id": "CDN_DISTRIBUTION_ID"},
    "cloudflare": {"zone": "CDN_ZONE", "token": "CDN_TOKEN"},
    "fastly": {"zone": "CDN_ZONE", "token": "CDN_TOKEN"},
    "bunny": {"zone": "CDN_ZONE", "token": "CDN_TOKEN"},
}
"""What each provider cannot do without: option and environment variable."""

PAGE_BUDGETS = {
    "odds/board.html": 30_000,
    "odds/event.html": 30_000,
    "odds/arbitrage.html": 30_000,
    "performance/monitor.html": 30_000,
    "performance/cdn.html": 30_000,
}

HINTS = {
    "/": ("odds/css/site.css", "odds/js/live-odds.js"),
    "/api/": (),
    "/admin/": (),  # its one style is the first thing that its pages say
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CdnConf:
    """The options of `PERFORMANCE["CDN"]`. Times are in seconds, sizes in bytes."""

    provider: str = ""
    """Who keeps our answers at the edge: a name of NEEDS, or empty for nobody."""
    base_url: str = ""
    """Where browsers fetch static files, such as `https://d1.cloudfront.net`; empty: the origin."""
    varnish_urls: tuple[str, ...] = ()
    """Each Varnish's own address, such as `http://10.0.0.5:6081`; every one is told of a purge."""
    varnish_name: str = ""
    """The working folder (`varnishd -n`) of a Varnish on this machine, to read its counters."""
    distribution_id: str = ""
    """CloudFront's distribution."""
    zone: str = ""
    """Cloudflare's zone, Fastly's service, or Bunny's pull zone."""
    token: str = field(default="", repr=False)
    """The provider's API key; it needs to purge and nothing else."""
    api_url: str = ""
    """Another address of the provider's API, for a proxy; empty: its own."""
    timeout_s: float = 5.0
    """How long one call to a provider may take."""
    purge_every_s: float = 1.0
    """A process purges what the cache invalidates at most so often, all tags together. CloudFront
    bills every path and takes seconds: there a minute is enough, for answers that live 5 s."""
    urls_per_minute: int = 60
    """The budget of purges by URL; beyond it a purge names the sections of its URLs instead."""
    max_attempts: int = 8
    """After so many failed deliveries a purge is given up and stands in the ledger as failed."""
    probe_path: str = "/healthz"
    """What the health probe asks of `base_url`, or of each Varnish."""
    probe_every_s: float = 1.0
    probe_timeout_s: float = 1.0
    """An edge that is slower than this counts as failing."""
    unhealthy_after: int = 2
    """Failed probes in a row that take the CDN out of the URLs."""
    healthy_after: int = 5
    """Good probes in a row that bring it back."""
    bucket: str = ""
    """S3 bucket that static files are published to; empty: they stay on the origin's disk."""
    s3_endpoint: str = ""
    """Another S3 than Amazon's, such as `http://127.0.0.1:8333`."""
    upload_threads: int = 16
    keep_builds: int = 3
    """Builds whose files stay reachable, so that a page from before a deployment still works."""
    image_widths: tuple[int, ...] = (320, 640, 960, 1280, 1920)
    """Widths in CSS pixels that pictures are made in, up to their own."""
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(HINTS))
    """Start of a path -> styles and modules that its pages' Link header names; longest wins."""
    page_budgets: Mapping[str, int] = field(default_factory=lambda: dict(PAGE_BUDGETS))
    """Template -> bytes that its styles and scripts may weigh as brotli, all imports with them."""

    def __post_init__(self) -> None:
        if self.provider not in NEEDS:
            allowed = ", ".join(name or "(empty)" for name in NEEDS)
            raise ImproperlyConfigured(
                f"PERFORMANCE['CDN']['provider'] is {self.provider!r} (CDN_PROVIDER); "
                f"it must be one of: {allowed}."
            )
        for option, variable in NEEDS[self.provider].items():
            if not getattr(self, option):
                raise ImproperlyConfigured(
                    f"PERFORMANCE['CDN'] names {self.provider} but no {option!r}; purges would go "
                    f"nowhere. Set {variable}."
                )
        if self.zone and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.zone):
            raise ImproperlyConfigured(
                f"PERFORMANCE['CDN']['zone'] is {self.zone!r} (CDN_ZONE); it is the provider's id "
                "of letters, digits, - and _."
            )
        for option, least in (("keep_builds", 1), ("urls_per_minute", 1), ("upload_threads", 1)):
            if getattr(self, option) < least:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['CDN'][{option!r}] is {getattr(self, option)}; "
                    f"it must be {least} or more."
                )

    def public_url(self, path: str) -> str:
        """Return a path as the edge knows it: absolute, with the host that people use."""
        return (self.base_url or settings.SITE_URL).rstrip("/") + path


def conf() -> CdnConf:
    return load(CdnConf, "CDN")
