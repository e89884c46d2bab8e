"""Whose request it is, behind our own proxy."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the client's address; "" when nobody says.

    X-Forwarded-For counts only from a proxy on loopback or a private network, and of it only the
    last entry: that is the one which our proxy wrote.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip()
    near = _parsed(peer)
    if forwarded and _parsed(forwarded) and (near is None or near.is_private):
        return forwarded
    return peer if near else ""


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
