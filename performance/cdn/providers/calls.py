"""One bounded call to a provider's API, and what its answer means."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.utils import timezone

from performance.cdn.conf import conf
from performance.cdn.errors import (
    LimitReached,
    ProviderRefused,
    ProviderUnreachable,
    WrongCredentials,
)

LONGEST_ANSWER_BYTES = 64 * 1024
"""An API says yes or no in far less; beyond it somebody else answers."""
LONGEST_WAIT_S = 3600.0
HTTP_ERROR = 400


def call(
    edge: str,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    says_json: bool = True,
) -> Any:
    """Send one request within `conf().timeout_s` and return its JSON, or its text without.

    Redirects are not followed: they would carry the key elsewhere.
    """
    refuse_address(edge, url)
    try:
        with (
            httpx.Client(timeout=conf().timeout_s, follow_redirects=False) as client,
            client.stream(method, url, headers=dict(headers or {}), json=body) as answer,
        ):
            raw = _read(edge, answer)
    except httpx.TimeoutException as error:
        raise ProviderUnreachable(f"{edge} did not answer in {conf().timeout_s} s.") from error
    except httpx.HTTPError as error:
        raise ProviderUnreachable(f"{edge} did not answer: {error}") from error
    _judge(edge, answer, raw)
    if not says_json:
        return raw
    try:
        return json.loads(raw or "{}")
    except ValueError:
        raise ProviderUnreachable(
            f"{edge} answered {answer.status_code} with no JSON ({_excerpt(raw)}): a proxy or a "
            "login page stands in between, or the address is wrong."
        ) from None


def refuse_address(edge: str, url: str) -> None:
    """Refuse an API address that would send the key unencrypted over a network."""
    parts = urlsplit(url)
    if parts.scheme == "https" or edge == "Varnish":
        return
    try:
        local = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        local = parts.hostname == "localhost"
    if not local:
        raise ProviderRefused(
            f"{edge}'s API is {parts.scheme}://{parts.hostname}; a key is sent by https only. "
            "Correct PERFORMANCE['CDN']['api_url'] (CDN_API_URL)."
        )


def _read(edge: str, answer: httpx.Response) -> str:
    chunks, size = [], 0
    for chunk in answer.iter_bytes():
        size += len(chunk)
        if size > LONGEST_ANSWER_BYTES:
            raise ProviderUnreachable(
                f"{edge} answered with more than {LONGEST_ANSWER_BYTES // 1024} KB; "
                "no API says that much to a purge."
            )
        chunks.append(chunk)
    return b"".join(chunks).decode(errors="replace")


def _judge(edge: str, answer: httpx.Response, raw: str) -> None:
    """Raise what the status means; return for 2xx."""
    status = answer.status_code
    if status in (401, 403):
        raise WrongCredentials(
            f"{edge} refused the key with {status} ({_excerpt(raw)}). Check CDN_TOKEN, and that it "
            "may purge; then purge again."
        )
    if status == 429:
        raise LimitReached(
            f"{edge} limits purges ({_excerpt(raw)}).", retry_after_s(answer.headers)
        )
    if status >= 500:
        raise ProviderUnreachable(f"{edge} answered {status} ({_excerpt(raw)}).")
    if status >= HTTP_ERROR:
        raise ProviderRefused(f"{edge} refused the purge with {status}: {_excerpt(raw)}")
    if status >= 300:
        raise ProviderRefused(
            f"{edge} answered {status} to {answer.headers.get('location', 'nowhere')!r}: the API "
            "address is wrong, and a redirect is not followed with a key."
        )


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long to wait by Retry-After, in seconds or as a date; 0 when it does not say."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return min(float(value), LONGEST_WAIT_S)
    try:
        wait_s = (parsedate_to_datetime(value) - timezone.now()).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _excerpt(raw: str) -> str:
    text = " ".join(raw.split())
    return repr(text[:160]) if text else "no body"
