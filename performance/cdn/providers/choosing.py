"""Which edge is ours."""

from __future__ import annotations

from performance.cdn.conf import conf
from performance.cdn.providers.base import Provider
from performance.cdn.providers.bunny import Bunny
from performance.cdn.providers.cloudflare import Cloudflare
from performance.cdn.providers.cloudfront import CloudFront
from performance.cdn.providers.fastly import Fastly
from performance.cdn.providers.varnish import Varnish

_PROVIDERS: dict[str, type[Provider]] = {
    "varnish": Varnish,
    "cloudfront": CloudFront,
    "cloudflare": Cloudflare,
    "fastly": Fastly,
    "bunny": Bunny,
}


def provider() -> Provider | None:
    """Return the configured edge, or None where there is none."""
    chosen = _PROVIDERS.get(conf().provider)
    return chosen() if chosen else None
