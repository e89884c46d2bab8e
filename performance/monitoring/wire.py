"""What travels over the bus: one sample a process and second in, one merged second out.

msgpack by msgspec, arrays instead of maps. Fields are only ever added at the end, so that a
rolling restart can mix versions; what cannot be decoded is counted and skipped, never raised.
"""

from __future__ import annotations

import msgspec

from performance.monitoring.histogram import Histogram

SAMPLES = "perf:samples"
"""Stream: one entry a process and second, field `s`."""
SECONDS = "perf:seconds"
"""Stream: one merged second an entry, with the id `<sequence>-0`: nobody can write one twice."""
POINTS = "perf:points"
"""Stream: the same seconds as a row of numbers, with the same ids: what charts read."""
NOW = "perf:now"
"""String: the newest second's tables."""
TOTALS = "perf:totals"
"""String: the counters since the beginning, for /metrics."""

OTHER = "__other__"
KEY_LENGTH = 300
"""Longer keys are cut; the tables hold no more."""

SeriesKey = tuple[str, str, str]
"""kind, key, status: `("request", "GET api/v1/odds", "2xx")`, `("sql", "9f3c…", "ok")`."""


class SlowRequest(msgspec.Struct, array_like=True):
    """One request that was worth keeping; the only place where a user may appear."""

    route: str
    status: int
    duration_ms: float
    sql_ms: float
    sql_count: int
    cache_ms: float
    user_id: int | None
    session_hash: str
    error: str
    """Class of the exception that Django answered for, or empty."""
    http_ms: float = 0.0
    render_ms: float = 0.0
    statements: list[tuple[str, int, float]] = []
    """The costliest: fingerprint, times, ms of all these times. Their texts are the sample's."""


class Fault(msgspec.Struct, array_like=True):
    """Exceptions of one group in one second; see faults.py."""

    fingerprint: str
    kind: str
    place: str
    message: str
    trace: str
    endpoint: str
    times: int


class Host(msgspec.Struct, array_like=True):
    """The machine of a process."""

    name: str
    cores: int
    cpu_ratio: float
    """Of all cores together, 0 to 1."""
    load: float
    """Of the last minute."""
    memory_used_bytes: int
    memory_bytes: int
    disk_used_bytes: int
    disk_bytes: int


class Sample(msgspec.Struct, array_like=True):
    """What one process saw in one second."""

    node: str
    process: str
    """web, live, worker, …"""
    pid: int
    number: int
    """Grows by one; a resent sample is known by it."""
    born: int
    """When the recorder was made, in ns: tells a new process with an old pid apart."""
    span_s: float
    series: list[tuple[str, str, str, Histogram]]
    counts: list[tuple[str, str, int]]
    gauges: list[tuple[str, str, float]]
    rss_bytes: int
    cpu_s: float
    """CPU used in this second."""
    lag_ms: float
    """How late the sender's thread woke up: what a thread of this process waits for its turn."""
    cost_ms: float
    """What packing the last sample cost."""
    dropped: int
    """Observations lost, or folded into `__other__`, since the last sample."""
    requests: list[SlowRequest]
    leaving: bool = False
    """The process ends by itself: its silence from now on is no failure."""
    build: str = ""
    """What code it runs, as PROTIPP_BUILD says."""
    faults: list[Fault] = []
    host: Host | None = None
    """Every few seconds."""
    statements: dict[str, str] = {}
    """The text of what `requests` asked, by fingerprint."""


class Second(msgspec.Struct, array_like=True):
    """All processes' last second, merged."""

    sequence: int
    at_s: int
    """Unix second by the bus's clock."""
    last_id: str
    """The newest sample in it."""
    series: list[tuple[str, str, str, Histogram]]
    counts: list[tuple[str, str, int]]
    gauges: list[tuple[str, str, float]]


class Point(msgspec.Struct, kw_only=True):
    """One second, or one minute or hour, in numbers. None means that nothing was measured."""

    sequence: int
    at_s: int
    span_s: float = 1.0
    requests: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    queries: int = 0
    query_p95_ms: float | None = None
    cache_hit_ratio: float | None = None
    price_age_p50_s: float | None = None
    price_age_p95_s: float | None = None
    price_age_max_s: float | None = None
    memory_bytes: int | None = None
    processes: int = 0
    queue_depth: int | None = None
    dropped: int = 0
    lag_ms: float | None = None
    """How far behind the monitor was when it merged this second."""
    cost_ms: float | None = None
    """CPU that merging and storing the second before cost."""


class Totals(msgspec.Struct):
    """Counters that only grow, and the newest sample in them."""

    last_id: str
    series: list[tuple[str, str, str, Histogram]]
    counts: list[tuple[str, str, int]]
    gauges: list[tuple[str, str, float]]


encoder = msgspec.msgpack.Encoder()
sample_decoder = msgspec.msgpack.Decoder(Sample)
second_decoder = msgspec.msgpack.Decoder(Second)
point_decoder = msgspec.msgpack.Decoder(Point)
totals_decoder = msgspec.msgpack.Decoder(Totals)
