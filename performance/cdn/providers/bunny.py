"""Bunny: one tag or one path a request, and 1,024 bytes of tags an answer."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from performance.cdn.conf import conf
from performance.cdn.errors import ProviderRefused
from performance.cdn.providers.base import Provider, Receipt, fitted, shared_max_age, with_overflow
from performance.cdn.providers.calls import call

API = "https://api.bunny.net"
HEADER_BYTES = 1024
REQUESTS = 50
"""Beyond so many requests one purge of the whole zone is the kinder way to say it."""


class Bunny(Provider):
    """It has no soft purge: a soft one is sent as a purge, which is hard."""

    name = "bunny"
    can_soften = False
    price_usd = Decimal(0)
    free_items = 0

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {"CDN-Tag": fitted(tags, most=1000, limit_bytes=HEADER_BYTES, separator=",")}

    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        return shared_max_age(directives, cache_control)

    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        wanted = with_overflow(tags)
        if len(wanted) + len(urls) > REQUESTS:
            self.purge_all(reference=reference, soft=soft)
            return Receipt(f"all purged: {len(wanted) + len(urls)} items, one by one", calls=1)
        for tag in wanted:
            self._send(f"/pullzone/{conf().zone}/purgeCache", {"CacheTag": tag})
        for url in urls:
            query = urlencode({"url": conf().public_url(url), "async": "false"})
            self._send(f"/purge?{query}", None)
        calls = len(wanted) + len(urls)
        return Receipt(f"{calls} accepted", calls=calls)

    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        self._send(f"/pullzone/{conf().zone}/purgeCache", None)
        return Receipt("all purged", calls=1)

    @staticmethod
    def _send(path: str, body: Any) -> None:
        said = call(
            "Bunny", "POST", (conf().api_url.rstrip("/") or API) + path,
            headers={"AccessKey": conf().token, "Accept": "application/json"}, body=body,
        )  # fmt: skip
        if isinstance(said, dict) and said.get("ErrorKey"):
            raise ProviderRefused(f"Bunny said no: {str(said)[:300]}")
