"""Sockets only from our own pages: a browser sends cookies with any site's handshake."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host


class OwnOrigin:
    """Let a handshake through when its one Origin is exactly the site it speaks to, else 403.

    That is scheme, host and port of `SITE_URL` or of an entry in `CSRF_TRUSTED_ORIGINS`, or the
    handshake's own Host when ALLOWED_HOSTS has it. None, two, and `null` are refused.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if is_own(scope["headers"]):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)


def is_own(headers: list[tuple[bytes, bytes]]) -> bool:
    origins = [value.decode("latin1") for name, value in headers if name.lower() == b"origin"]
    hosts = [value.decode("latin1") for name, value in headers if name.lower() == b"host"]
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin, host = origins[0].lower(), hosts[0].lower()
    trusted = [settings.SITE_URL, *settings.CSRF_TRUSTED_ORIGINS]
    if origin in {_origin_of(url) for url in trusted}:
        return True
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    scheme = "https" if settings.SITE_URL.startswith("https://") else "http"
    return origin == f"{scheme}://{host}"


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
