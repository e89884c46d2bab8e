"""The times that an answer's bytes carry: when its prices are of, and when it was made. Pure."""

from __future__ import annotations

import re

_CONFIRMED = re.compile(rb'data-confirmed="(\d+)"')
_CLOCKS = re.compile(
    rb'"as_of":[\d.]+|data-as-of="[^"]*"|<time [^>]*data-clock>[^<]*|data-age="[\d.]*">[^<]*'
    rb'|, confirmed [^"]* ago|(?<=class="p) (?:aging|old)|<span>in (?:\d[^<]*|play)</span>'
    rb'|"last_seen_at":[\d.]+|"last_update"\s*:\s*"[^"]*"|data-(?:at|confirmed)="[\d.]*"'
)
"""When it was made, ages counted from that, and confirmations: a price that is only confirmed is
the same price, and invalidates nothing."""


def confirmed_s(body: bytes) -> float | None:
    """Return when a page's median price was confirmed, as its first kilobytes say."""
    found = _CONFIRMED.search(body, 0, 8192)
    return float(found[1]) if found else None


def without_clock(body: bytes) -> bytes:
    """Return an answer without its times of making and confirming: what must not be outdated."""
    return _CLOCKS.sub(b"", body)
