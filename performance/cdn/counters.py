"""How much the edge answers itself: from its own counters, and from what sampled answers say."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import redis

from performance.cdn.conf import conf
from performance.core import stores

KEY = "cdn:counters"
SEEN_KEY = "cdn:seen"
SAMPLES = 90
"""Kept; one each 10 s, so 15 minutes."""
SEEN_FOR_S = 3600
VARNISHSTAT_WITHIN_S = 2
FIELDS = ("MAIN.cache_*", "MAIN.s_resp_bodybytes", "MAIN.n_object", "VBE.*.beresp_bodybytes")


@dataclass(frozen=True, slots=True)
class Sample:
    """An edge's counters at one moment; they only grow until it starts anew."""

    at: float
    hits: int
    stale_hits: int
    misses: int
    sent_bytes: int
    fetched_bytes: int
    objects: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What the edge did in a span; ratios are 0 to 1, None without any request."""

    span_s: float
    requests: int
    hit_ratio: float | None
    sent_bytes: int
    saved_bytes: int
    saved_ratio: float | None
    objects: int


def read() -> Sample | None:
    """Return the counters of the Varnish on this machine; None without one, or when it is down."""
    program = shutil.which("varnishstat")
    if not conf().varnish_name or program is None:
        return None
    filters = [word for field in FIELDS for word in ("-I", field)]
    try:
        done = subprocess.run(
            [program, "-n", conf().varnish_name, "-t", "1", "-j", *filters],
            capture_output=True, text=True, timeout=VARNISHSTAT_WITHIN_S, check=True,
        )  # fmt: skip
        return sample(json.loads(done.stdout), time.time())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def sample(said: Mapping[str, Any], now: float) -> Sample:
    """Return what `varnishstat -j` said; ValueError when it is something else. Pure."""
    counters = said.get("counters", said)
    if not isinstance(counters, dict):
        raise ValueError(f"varnishstat's JSON has no counters: {str(said)[:100]}")
    values = {
        name: int(row["value"])
        for name, row in counters.items()
        if isinstance(row, dict) and "value" in row
    }
    return Sample(
        at=now,
        hits=values.get("MAIN.cache_hit", 0),
        stale_hits=values.get("MAIN.cache_hit_grace", 0),
        # What may not be kept is no miss of the cache, but the origin is asked all the same.
        misses=values.get("MAIN.cache_miss", 0) + values.get("MAIN.cache_hitmiss", 0),
        sent_bytes=values.get("MAIN.s_resp_bodybytes", 0),
        fetched_bytes=sum(v for name, v in values.items() if name.endswith("beresp_bodybytes")),
        objects=values.get("MAIN.n_object", 0),
    )


def take() -> bool:
    """Read the counters and keep them on the bus; False when there is nothing to read."""
    found = read()
    if found is None:
        return False
    pipe: Any = stores.bus().pipeline(transaction=False)
    pipe.rpush(KEY, json.dumps(asdict(found)))
    pipe.ltrim(KEY, -SAMPLES, -1)
    pipe.expire(KEY, SEEN_FOR_S)
    pipe.execute()
    return True


def kept() -> list[Sample]:
    """Return the samples of the last 15 minutes, oldest first; empty without the bus."""
    try:
        rows = cast("list[bytes]", stores.bus().lrange(KEY, 0, -1))
    except redis.RedisError:
        return []
    return [Sample(**json.loads(row)) for row in rows]


def share(samples: Sequence[Sample]) -> Share | None:
    """Return what happened between the first sample and the last; None with fewer than two. Pure.

    A counter that fell says that the edge started anew, from nothing.
    """
    if len(samples) < 2:
        return None

    def grown(name: str) -> int:
        values = [getattr(one, name) for one in samples]
        return sum(
            after - before if after >= before else after
            for before, after in itertools.pairwise(values)
        )

    hits, misses = grown("hits"), grown("misses")
    sent, fetched = grown("sent_bytes"), grown("fetched_bytes")
    saved = max(0, sent - fetched)
    return Share(
        span_s=samples[-1].at - samples[0].at,
        requests=hits + misses,
        hit_ratio=hits / (hits + misses) if hits + misses else None,
        sent_bytes=sent,
        saved_bytes=saved,
        saved_ratio=saved / sent if sent else None,
        objects=samples[-1].objects,
    )


def seen(hit: bool | None) -> None:
    """Count what a sampled answer's Cache-Status said; lost while the bus is away."""
    if hit is None:
        return
    with contextlib.suppress(redis.RedisError):
        pipe: Any = stores.bus().pipeline(transaction=False)
        pipe.hincrby(SEEN_KEY, "hit" if hit else "miss", 1)
        pipe.expire(SEEN_KEY, SEEN_FOR_S, nx=True)
        pipe.execute()


def sampled() -> dict[str, int]:
    """Return how many sampled answers were hits and misses, since an hour at most."""
    try:
        row = cast("dict[bytes, bytes]", stores.bus().hgetall(SEEN_KEY))
    except redis.RedisError:
        row = {}
    return {name: int(row.get(name.encode(), 0)) for name in ("hit", "miss")}
