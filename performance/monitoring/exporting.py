"""`/metrics`: the merged store of all processes, as Prometheus wants it. No files, no guessing.

The counters are the monitor's, so that any web node answers the same. Bounds of histograms are
powers of two: there our buckets end exactly, and nothing is interpolated.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from performance.monitoring import live, native, wire
from performance.monitoring.histogram import Histogram

OCTAVES = tuple(range(-10, 5))
"""2**-10 s (about 1 ms) to 16 s."""
OCTAVES_OF_AGE = tuple(range(13))
"""1 s to 4,096 s."""
TIMED = {
    "request": ("protipp_request_duration_seconds", "Time to answer a request.", OCTAVES),
    "sql": ("protipp_query_duration_seconds", "Time of a database statement.", OCTAVES),
    "task": ("protipp_task_duration_seconds", "Run time of a Celery task.", OCTAVES),
    "task_wait": ("protipp_task_wait_seconds", "Time a task waited in its queue.", OCTAVES),
    "cache": ("protipp_cache_load_seconds", "Time of the cache's loaders.", OCTAVES),
    "http_out": ("protipp_http_out_seconds", "Time of outgoing HTTP requests.", OCTAVES),
    "socket": ("protipp_socket_seconds", "Time of work on sockets.", OCTAVES),
    "price_age": ("protipp_price_age_seconds", "Age of a price when served.", OCTAVES_OF_AGE),
}


class MergedCollector:
    """A collector for prometheus_client's registry; one read of the bus a scrape."""

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not ask the bus."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            totals, now = live.read_totals(), live.read_now()
        except redis.RedisError:
            yield _up(0)
            return
        yield _up(1)
        if now and now["at_s"] is not None:
            yield GaugeMetricFamily(
                "protipp_monitor_silent_seconds",
                "Age of the newest merged second.",
                value=max(0.0, time.time() - now["at_s"]),
            )
            yield from _nodes(now["processes"])
            yield from _processes(now["processes"])
        if totals is not None:
            yield from _histograms(totals)
            yield from _counters(totals)
            yield from _gauges(totals)


def _up(value: int) -> Metric:
    return GaugeMetricFamily(
        "protipp_bus_up", "1 when the merged numbers could be read, 0 when not.", value=value
    )


def in_protobuf() -> bytes:
    """Return all of it as protobuf, with native histograms beside the classic buckets."""
    totals = live.read_totals()
    parts = []
    for kind, (name, text, octaves) in TIMED.items():
        metrics = [
            native.of_histogram(labels, row, octaves)
            for labels, row in _rows_of(totals, kind)
        ]  # fmt: skip
        if metrics:
            parts.append(native.family(name, text, "histogram", metrics))
    for metric in MergedCollector().collect():
        packed = native.of_metric(metric)
        if packed is not None:
            parts.append(packed)
    return b"".join(parts)


def _rows_of(totals: wire.Totals | None, kind: str) -> Iterator[tuple[dict[str, str], Histogram]]:
    for its_kind, key, status, row in totals.series if totals is not None else ():
        if its_kind != kind:
            continue
        if kind == "request":
            method, _, route = key.partition(" ")
            yield {"route": route or key, "method": method if route else "", "status": status}, row
        else:
            yield {"key": key, "status": status}, row


def _histograms(totals: wire.Totals) -> Iterator[Metric]:
    for kind, (name, text, octaves) in TIMED.items():
        names = ["route", "method", "status"] if kind == "request" else ["key", "status"]
        family = HistogramMetricFamily(name, text, labels=names)
        for labels, row in _rows_of(totals, kind):
            values = [labels[name] for name in names]
            family.add_metric(values, _buckets(row, octaves), sum_value=row.sum_us / 1e6)
        yield family


def _buckets(row: Histogram, octaves: tuple[int, ...]) -> list[tuple[str, float]]:
    counts = row.cumulative(octaves)
    pairs = [(str(2.0**octave), float(n)) for octave, n in zip(octaves, counts, strict=True)]
    return [*pairs, ("+Inf", float(row.n))]


def _counters(totals: wire.Totals) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "protipp_events", "What was only counted, by kind.", labels=["kind", "key"]
    )
    for kind, key, amount in totals.counts:
        family.add_metric([kind, key], amount)
    yield family


def _gauges(totals: wire.Totals) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "protipp_gauge", "Values of a moment, added over processes.", labels=["kind", "key"]
    )
    for kind, key, value in totals.gauges:
        family.add_metric([kind, key], value)
    yield family


def _nodes(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    """How long each node is unheard: as long as the process of it that was heard last."""
    silent: dict[str, float] = {}
    for row in rows:
        silent[row["node"]] = min(row["silent_s"], silent.get(row["node"], row["silent_s"]))
    family = GaugeMetricFamily(
        "protipp_node_silent_seconds", "How long nothing was heard of a node.", labels=["node"]
    )
    for node, seconds in silent.items():
        family.add_metric([node], seconds)
    yield family


def _processes(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    for field, name, text in (
        ("memory_bytes", "protipp_process_memory_bytes", "Resident memory of a process."),
        ("cpu_ratio", "protipp_process_cpu_ratio", "CPU used in the last second, 1 is a core."),
        ("lag_ms", "protipp_process_lag_milliseconds", "How late a thread gets its turn."),
        ("dropped", "protipp_process_dropped", "Observations lost or folded since it began."),
    ):
        family = GaugeMetricFamily(name, text, labels=["node", "process", "pid"])
        for row in rows:
            family.add_metric([row["node"], row["process"], str(row["pid"])], row[field])
        yield family
