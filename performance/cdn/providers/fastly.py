"""Fastly: surrogate keys in batches of 256, soft or hard, and paths one by one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from performance.cdn.conf import conf
from performance.cdn.errors import ProviderRefused
from performance.cdn.providers.base import Provider, Receipt, fitted, sliced, with_overflow
from performance.cdn.providers.calls import call

API = "https://api.fastly.com"
KEYS = 256
HEADER_BYTES = 16 * 1024


class Fastly(Provider):
    name = "fastly"
    can_soften = True
    price_usd = Decimal(0)
    free_items = 0

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {"Surrogate-Key": fitted(tags, most=1000, limit_bytes=HEADER_BYTES, separator=" ")}

    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        return {"Surrogate-Control": directives}

    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        if wild := [url for url in urls if url.endswith("*")]:
            raise ProviderRefused(
                f"Fastly purges no prefixes, so {wild[0]!r} means nothing to it: purge by a tag."
            )
        host = urlsplit(conf().public_url("/")).netloc
        said = [
            self._send(f"/service/{conf().zone}/purge", {"surrogate_keys": some}, soft=soft)
            for some in sliced(with_overflow(tags), KEYS)
        ]
        said += [self._send(f"/purge/{host}{url}", None, soft=soft) for url in urls]
        return Receipt(f"{len(said)} accepted" if said else "nothing", calls=len(said))

    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        # It cannot be soft; whoever wants that purges the tag that all answers carry.
        self._send(f"/service/{conf().zone}/purge_all", None, soft=False)
        return Receipt("all purged", calls=1)

    @staticmethod
    def _send(path: str, body: Any, *, soft: bool) -> Any:
        headers = {"Fastly-Key": conf().token, "Accept": "application/json"}
        if soft:
            headers["Fastly-Soft-Purge"] = "1"
        url = (conf().api_url.rstrip("/") or API) + path
        said = call("Fastly", "POST", url, headers=headers, body=body)
        if isinstance(said, dict) and said.get("status", "ok") != "ok":
            raise ProviderRefused(f"Fastly said no: {str(said)[:300]}")
        return said
