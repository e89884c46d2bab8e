"""Numbers as people read them. Pure; used by commands, pages and templates alike."""

from __future__ import annotations


def format_ms(ms: float | None) -> str:
    """Milliseconds with three digits at most: `0.42 ms`, `17.3 ms`, `1.25 s`; None is `–`."""
    if ms is None:
        return "–"
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms"


def format_bytes(size_bytes: float | None) -> str:
    """Bytes in steps of 1,024: `512 B`, `1.5 KB`, `3.2 MB`; None is `–`."""
    if size_bytes is None:
        return "–"
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TB"


def format_age(age_s: float | None) -> str:
    """Seconds as an age: `4 s`, `3 min`, `2 h`, `5 d`; None is `never`."""
    if age_s is None:
        return "never"
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if age_s < limit:
            return f"{age_s / size:.0f} {unit}"
    return f"{age_s / 86400:.0f} d"


def format_ratio(ratio: float | None) -> str:
    """0 to 1 as percent: `0.963` is `96.3 %`; None is `–`."""
    return "–" if ratio is None else f"{ratio * 100:.1f} %"
