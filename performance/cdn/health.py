"""Whether the edge answers: probed by one process, known to all through the bus."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import cast

import httpx
import redis

from performance.cdn.conf import conf
from performance.core import stores

KEY = "cdn:health"
PROBING = "cdn:probing"
REMEMBER_S = 0.5
"""How long a process trusts what it last read, so that a URL costs no round trip."""

NOT_WELL = 400
"""An edge that does not know us, or asks for a login, is as useless as one that fails."""

_known: tuple[float, bool] = (float("-inf"), True)


@dataclass(frozen=True, slots=True)
class Health:
    healthy: bool
    since: float
    """Unix time of the last change; 0 when it was never probed."""
    streak: int
    """Probes in a row with the same outcome."""
    detail: str
    """What the last probe met, such as `200 in 12 ms` or `no answer in 2.0 s`."""


NEVER_PROBED = Health(True, 0.0, 0, "never probed")


def public_url(origin_url: str) -> str:
    """Return `origin_url` at the CDN while it is configured and healthy; costs no call mostly."""
    base_url = conf().base_url
    return f"{base_url.rstrip('/')}{origin_url}" if base_url and healthy() else origin_url


def healthy() -> bool:
    """Return what the last probe said, at most REMEMBER_S old. Without the bus: what was known."""
    global _known
    read_at, value = _known
    if time.monotonic() - read_at > REMEMBER_S:
        with contextlib.suppress(redis.RedisError):  # what was known stands until the bus is back
            value = read().healthy
        _known = (time.monotonic(), value)
    return value


def read() -> Health:
    stored = cast("dict[bytes, bytes]", stores.bus().hgetall(KEY))
    if not stored:
        return NEVER_PROBED
    return Health(
        healthy=stored[b"healthy"] == b"1",
        since=float(stored[b"since"]),
        streak=int(stored[b"streak"]),
        detail=stored[b"detail"].decode(),
    )


def probe() -> tuple[Health, Health] | None:
    """Ask the edge once, and take it out or bring it back when it has been so for long enough.

    Returns the state before and after; None when another process asks just now. Of several
    Varnishes one that answers is enough: the proxy before them knows which.
    """
    waits_ms = int((len(_targets()) * conf().probe_timeout_s + 1) * 1000)
    if not stores.bus().set(PROBING, 1, nx=True, px=waits_ms):
        return None
    try:
        return _probe()
    finally:
        stores.bus().delete(PROBING)


def _probe() -> tuple[Health, Health]:
    said = [_ask(url) for url in _targets()]
    ok = any(well for well, _ in said)
    detail = "; ".join(detail for well, detail in said if well == ok)
    before = read()
    after = step(before, ok=ok, detail=detail[:200], now=time.time())
    stores.bus().hset(
        KEY,
        mapping={
            "healthy": int(after.healthy),
            "since": after.since,
            "streak": after.streak,
            "detail": after.detail,
        },
    )
    return before, after


def _targets() -> list[str]:
    """Return what is asked: the public address, else a page that each Varnish makes itself."""
    if conf().base_url:
        return [conf().base_url.rstrip("/") + conf().probe_path]
    return [url.rstrip("/") + "/edge-health" for url in conf().varnish_urls]


def step(before: Health, *, ok: bool, detail: str, now: float) -> Health:
    """Return the state after one probe: pure, so that flapping can be tested without an edge.

    `streak` counts probes against the present state while it stands, and for it otherwise.
    """
    needed = conf().healthy_after if ok else conf().unhealthy_after
    if ok == before.healthy:
        return Health(before.healthy, before.since, 0, detail)
    streak = before.streak + 1
    if streak >= needed:
        return Health(ok, now, 0, detail)
    return Health(before.healthy, before.since, streak, detail)


def _ask(url: str) -> tuple[bool, str]:
    started = time.monotonic()
    try:
        answer = httpx.get(url, timeout=conf().probe_timeout_s, follow_redirects=False)
    except httpx.TimeoutException:
        return False, f"no answer in {conf().probe_timeout_s} s"
    except httpx.HTTPError as error:
        return False, str(error) or type(error).__name__
    took_ms = (time.monotonic() - started) * 1000
    return answer.status_code < NOT_WELL, f"{answer.status_code} in {took_ms:.0f} ms"
