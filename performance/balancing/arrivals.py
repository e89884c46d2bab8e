"""How long requests waited before this node took them up, and how many it works on now.

The proxy stamps each request with `X-Request-Start: t=<microseconds since 1970>` as it comes in, so
the difference holds its wait for a slot, the proxy's queue and the node's own. It needs clocks that
agree: on one machine they do; between machines, what would be negative counts as 0.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

KEPT = 2_048
"""Waits kept between two heartbeats; of more, the last ones. At 4,000 a second that is half."""
LONGEST_S = 60.0
"""A stamp older than this is somebody's mistake, and not a wait."""

_waits_ms: deque[float] = deque(maxlen=KEPT)
_came = False


def wsgi_arrivals(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Note each request's wait; about 1 us, and it never fails a request."""

    def note(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        stamp = environ.get("HTTP_X_REQUEST_START")
        if stamp is not None:
            record(stamp, time.time())
        return application(environ, start_response)

    return note


def record(stamp: str, now_s: float) -> None:
    """Take one stamp; what is none is left out.

    >>> record("t=1000000", now_s=1.005); take_p95_ms()
    5.0
    """
    try:
        waited_s = now_s - int(stamp.removeprefix("t=")) / 1e6
    except ValueError:
        return
    global _came
    _came = True
    if waited_s < LONGEST_S:
        _waits_ms.append(max(0.0, waited_s) * 1e3)


def has_anybody_come() -> bool:
    """Whether the proxy ever sent a request to this process."""
    return _came


def take_p95_ms() -> float:
    """Return the 95th percentile since the last call, and begin anew; 0 when nobody came."""
    taken = []
    while True:
        try:
            taken.append(_waits_ms.popleft())  # other threads go on adding
        except IndexError:
            break
        if len(taken) >= KEPT:
            break
    if not taken:
        return 0.0
    taken.sort()
    return round(taken[math.ceil(0.95 * len(taken)) - 1], 3)
