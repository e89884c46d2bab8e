"""Prometheus's protobuf format, which alone carries native histograms: our buckets as they are.

Written out by hand: it is eight messages of io.prometheus.client (prometheus/client_model,
metrics.proto), and prometheus_client has no native histograms. Schema 4 of a native histogram is
16 buckets an octave, each with its upper bound: exactly ours, so a quantile there is ours too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import Metric

from performance.monitoring.histogram import LOWEST, Histogram

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
SCHEMA = 4
ZERO_THRESHOLD = 2.0**-20
"""Our lowest bucket holds everything up to it: the zero bucket of a native histogram."""
TYPES = {"counter": 0, "gauge": 1, "unknown": 3, "histogram": 4}
VARINT, DOUBLE, BYTES = 0, 1, 2

Labels = Mapping[str, str]


def is_wanted(accept: str) -> bool:
    """Say whether a scraper asks for this format before any other."""
    first = accept.partition(",")[0].replace(" ", "").lower()
    return first.startswith("application/vnd.google.protobuf") and "delimited" in first


def family(name: str, text: str, kind: str, metrics: Iterable[bytes]) -> bytes:
    """Return one MetricFamily with its length before it."""
    body = b"".join(
        (
            _text(1, name),
            _text(2, text),
            _varint_field(3, TYPES[kind]),
            *(_bytes(4, metric) for metric in metrics),
        )
    )
    return _varint(len(body)) + body


def of_metric(metric: Metric) -> bytes | None:
    """Return a counter's or a gauge's family; None for kinds that are written otherwise."""
    if metric.type not in ("counter", "gauge"):
        return None
    place = 3 if metric.type == "counter" else 2
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    rows = (
        _labels(sample.labels) + _bytes(place, _double(1, float(sample.value)))
        for sample in metric.samples
        if sample.name == name
    )
    return family(name, metric.documentation, metric.type, rows)


def of_histogram(labels: Labels, row: Histogram, bounds: Iterable[int]) -> bytes:
    """Return a Metric with both: classic buckets at these octaves, and the native ones."""
    octaves = list(bounds)
    classic = b"".join(
        _bytes(3, _varint_field(1, count) + _double(2, 2.0**octave))
        for octave, count in zip(octaves, row.cumulative(octaves), strict=True)
    )
    spans, deltas = _native(row.buckets)
    body = b"".join(
        (
            _varint_field(1, row.n),
            _double(2, row.sum_us / 1e6),
            classic,
            _varint_field(5, _zigzag(SCHEMA)),
            _double(6, ZERO_THRESHOLD),
            _varint_field(7, row.buckets.get(LOWEST, 0)),
            *(_bytes(12, span) for span in spans),
            _bytes(13, b"".join(_varint(_zigzag(delta)) for delta in deltas)),
        )
    )
    return _labels(labels) + _bytes(7, body)


def _native(buckets: Mapping[int, int]) -> tuple[list[bytes], list[int]]:
    """Return the spans of neighbouring buckets, and each count as the difference to the last."""
    indexes = sorted(index for index in buckets if index > LOWEST)
    spans: list[list[int]] = []
    deltas: list[int] = []
    end, before = 0, 0
    for place, index in enumerate(indexes):
        if place and index == end:
            spans[-1][1] += 1
        else:
            spans.append([index - end if place else index, 1])
        end = index + 1
        deltas.append(buckets[index] - before)
        before = buckets[index]
    packed = [
        _varint_field(1, _zigzag(offset)) + _varint_field(2, length) for offset, length in spans
    ]
    return packed, deltas


def _labels(labels: Labels) -> bytes:
    return b"".join(_bytes(1, _text(1, name) + _text(2, value)) for name, value in labels.items())


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(value)) + value


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | DOUBLE) + struct.pack("<d", value)


def _varint_field(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _varint(value: int) -> bytes:
    return bytes(_septets(value))


def _septets(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
