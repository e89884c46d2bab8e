"""A bounded ramp of users against this site's own address on loopback, and no other.

It is for operators: how latency grows with users, and where these nodes end. What it saw is kept,
and the page fits the law of `capacity` to it.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from performance.balancing.errors import BalancingError
from performance.balancing.installing import site_in
from performance.balancing.loading import Order, Seen, crowd
from performance.balancing.models import LoadStep

MOST_USERS = 5_000
MOST_SECONDS = 60.0
MOST_STEPS = 20
QUICKEST_S = 0.1
"""A user who asks more often than this is no user."""


def run_steps(
    directory: Path,
    *,
    users: int,
    steps: int,
    seconds: float,
    every_s: float,
    paths: Mapping[str, float],
    nodes: int,
    by: str,
) -> Iterator[LoadStep]:
    """Run the ramp; yield each step once it is kept. BalancingError names what is out of bounds."""
    _refuse("users", users, 1, MOST_USERS)
    _refuse("steps", steps, 1, MOST_STEPS)
    _refuse("seconds", seconds, 0.5, MOST_SECONDS)
    _refuse("every", every_s, QUICKEST_S, 60.0)
    for path in paths:
        if not path.startswith("/") or any(sign.isspace() or sign == "\0" for sign in path):
            raise BalancingError(f"A path is {path!r}; it must begin with / and have no spaces.")
    host, port = loopback_of(directory)
    began_at = timezone.now()
    for step in range(1, steps + 1):
        count = math.ceil(users * step / steps)
        order = Order(
            host=host, port=port, users=count, every_s=every_s, seconds=seconds, paths=paths
        )
        try:
            seen = crowd(order)
        except OSError as error:
            raise BalancingError(
                f"{count} users could not connect to {host}:{port}: {error}. Is the site up, and "
                "`ulimit -n` above the number of users?"
            ) from error
        yield _kept(seen, order, began_at, nodes, by)


def loopback_of(directory: Path) -> tuple[str, int]:
    """Return where this site listens on loopback; BalancingError when it does not."""
    site = site_in(directory)
    address = ipaddress.ip_address(site.bind)
    if address.is_unspecified:
        return ("::1" if address.version == 6 else "127.0.0.1"), site.port
    if not address.is_loopback:
        raise BalancingError(
            f"The proxy listens on {site.bind} only; a load test goes to loopback and nowhere "
            "else. Start the site with BIND=0.0.0.0 or 127.0.0.1."
        )
    return site.bind, site.port


def _refuse(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise BalancingError(f"--{name} is {value:g}; it must be {low:g} to {high:g}.")


def _kept(seen: Seen, order: Order, began_at: datetime, nodes: int, by: str) -> LoadStep:
    times_ms = sorted(1e3 * one for one in seen.latencies)
    answered = len(times_ms)

    def at(share: float) -> float:
        return times_ms[min(answered - 1, int(share * answered))] if answered else 0.0

    return LoadStep.objects.create(
        began_at=began_at, nodes=nodes, users=order.users, every_s=order.every_s,
        per_s=answered / order.seconds, mean_ms=sum(times_ms) / answered if answered else 0.0,
        p50_ms=at(0.5), p99_ms=at(0.99), errors=sum(seen.errors.values()), by=by,
    )  # fmt: skip
