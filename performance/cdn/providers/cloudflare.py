"""Cloudflare: paths and tags by its zone's purge endpoint, at most 100 items a request."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from performance.cdn.conf import conf
from performance.cdn.errors import (
    LimitReached,
    ProviderRefused,
    ProviderUnreachable,
    WrongCredentials,
)
from performance.cdn.providers.base import Provider, Receipt, fitted, sliced, with_overflow
from performance.cdn.providers.calls import call

API = "https://api.cloudflare.com/client/v4"
ITEMS = 100
HEADER_BYTES = 16 * 1024
KEY_CODES = {6003, 6111, 9103, 9106, 9109, 10000, 10001}
"""Its error codes for a key that is malformed, unknown, or lacks the permission."""
LIMIT_CODES = {10013, 971, 1134}


class Cloudflare(Provider):
    """It has no soft purge: a soft one is sent as a purge, which is hard."""

    name = "cloudflare"
    can_soften = False
    price_usd = Decimal(0)
    free_items = 0

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {"Cache-Tag": fitted(tags, most=1000, limit_bytes=HEADER_BYTES, separator=",")}

    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        return {"CDN-Cache-Control": directives}

    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        plain = [conf().public_url(url) for url in urls if not url.endswith("*")]
        prefixes = [_prefix(url) for url in urls if url.endswith("*")]
        bodies = [
            {kind: some}
            for kind, items in (
                ("tags", with_overflow(tags)),
                ("files", plain),
                ("prefixes", prefixes),
            )
            for some in sliced(items, ITEMS)
        ]
        ids = [self._send(body) for body in bodies]
        return Receipt("purge " + ", ".join(ids), calls=len(ids))

    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        return Receipt(f"purge {self._send({'purge_everything': True})}", calls=1)

    @staticmethod
    def _send(body: dict[str, Any]) -> str:
        url = f"{conf().api_url.rstrip('/') or API}/zones/{conf().zone}/purge_cache"
        said = call(
            "Cloudflare", "POST", url,
            headers={"Authorization": f"Bearer {conf().token}"}, body=body,
        )  # fmt: skip
        if not isinstance(said, dict) or "success" not in said:
            raise ProviderUnreachable(f"Cloudflare answered what is no answer: {str(said)[:160]}")
        if not said["success"]:
            raise _meaning(said.get("errors") or [])
        return str((said.get("result") or {}).get("id", "done"))


def _prefix(url: str) -> str:
    """Cloudflare's prefixes have no scheme and no star."""
    return conf().public_url(url).split("://", 1)[-1].rstrip("*")


def _meaning(errors: list[dict[str, Any]]) -> Exception:
    """A refusal may come with status 200; its codes say what it is."""
    codes = {error.get("code") for error in errors if isinstance(error, dict)}
    text = "Cloudflare said no: " + "; ".join(
        f"{error.get('code')} {error.get('message', '')}".strip() for error in errors
    )
    if codes & KEY_CODES:
        return WrongCredentials(f"{text}. Check CDN_TOKEN and its Cache Purge permission.")
    if codes & LIMIT_CODES:
        return LimitReached(text, 0.0)
    return ProviderRefused(text[:500])
