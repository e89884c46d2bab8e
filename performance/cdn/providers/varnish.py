"""Varnish with the xkey module and the VCL of `deploy/varnish`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from performance.cdn.conf import conf
from performance.cdn.errors import WrongCredentials
from performance.cdn.providers.base import Provider, Receipt, fitted, packed, with_overflow
from performance.cdn.providers.calls import call

PURGE_BYTES = 4096
"""Keys that one purge carries: Varnish refuses header lines over 8 KB by default."""
ANSWER_BYTES = 7000


class Varnish(Provider):
    """Tags and paths, soft or hard, at every server of `varnish_urls`."""

    name = "varnish"
    can_soften = True
    price_usd = Decimal(0)
    free_items = 0

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        # Its VCL copies it to `xkey` in vcl_backend_response, and takes it off before browsers.
        return {"Surrogate-Key": fitted(tags, most=500, limit_bytes=ANSWER_BYTES, separator=" ")}

    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        return {"CDN-Cache-Control": directives}

    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        header = "xkey-softpurge" if soft else "xkey-purge"
        lines = list(packed(with_overflow(tags), PURGE_BYTES))
        requests = [("/", {header: line}) for line in lines]
        requests += [(url, {"purge-soft": "1"} if soft else {}) for url in urls]
        return self._everywhere(requests)

    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        return self._everywhere([("/", {"purge-all": "1"})])

    def _everywhere(self, requests: Sequence[tuple[str, dict[str, str]]]) -> Receipt:
        """Tell every server; one that is away fails the purge, and all are told again."""
        said = []
        for server in conf().varnish_urls:
            for path, headers in requests:
                said.append(self._send(server.rstrip("/") + path, headers))
        return Receipt("; ".join(dict.fromkeys(said)), calls=len(said))

    @staticmethod
    def _send(url: str, headers: dict[str, str]) -> str:
        try:
            answer = call("Varnish", "PURGE", url, headers=headers, says_json=False)
        except WrongCredentials as error:
            raise WrongCredentials(
                f"Varnish at {url} refused PURGE: its VCL must allow this address. "
                "See deploy/varnish."
            ) from error
        return str(answer).strip()[:100] or "200 OK"
