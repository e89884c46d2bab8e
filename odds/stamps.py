"""The times that an answer's bytes carry: when its prices are of, and when it was made. Pure."""

from __future__ import annotations

import re

_CONFIRMED = re.compile(rb'data-confirmed="(\d+)"')
_DRAWN_AT = re.compile(
    rb'"as_of":[\d.]+|data-as-of="[^"]*"|data-clock>[^<]*|(?<=data-age="\d{10}")>[^<]*'
    rb'|, confirmed [^"]* ago|(?<=class="p) (?:aging|old)|<span>in (?:\d[^<]*|play)</span>'
)


def confirmed_s(body: bytes) -> float | None:
    """Return when a page's median price was confirmed, as its first kilobytes say."""
    found = _CONFIRMED.search(body, 0, 8192)
    return float(found[1]) if found else None


def without_clock(body: bytes) -> bytes:
    """Return an answer without the time at which it was made and the ages counted from it."""
    return _DRAWN_AT.sub(b"", body)
