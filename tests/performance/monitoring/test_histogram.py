from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from performance.monitoring.histogram import ERROR_RATIO, HIGHEST_S, Histogram, bucket_of

durations = st.floats(min_value=1e-5, max_value=1e5)


def filled(values):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(durations, min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_are_within_the_promised_error(values, share):
    exact = float(np.percentile(values, share * 100, method="inverted_cdf"))

    assert filled(values).percentile(share) == pytest.approx(exact, rel=ERROR_RATIO * 1.0001)


@given(st.lists(durations, max_size=100), st.lists(durations, max_size=100))
def test_merging_is_the_same_as_counting_together(left, right):
    merged = filled(left)
    merged.merge(filled(right))

    assert merged == filled([*left, *right])


@given(st.lists(durations, max_size=50), st.lists(durations, max_size=50))
def test_subtracting_takes_back_exactly_what_was_merged(left, right):
    histogram, before = filled(left), filled(left)
    histogram.merge(filled(right))
    histogram.subtract(filled(right))

    assert (histogram.n, histogram.sum_us, histogram.buckets) == (
        before.n,
        before.sum_us,
        before.buckets,
    )


@given(durations)
def test_a_value_lies_in_its_bucket(seconds):
    index = bucket_of(seconds)

    assert 2 ** ((index - 1) / 16) * (1 - 1e-9) <= seconds <= 2 ** (index / 16) * (1 + 1e-9)


def test_nothing_measured_has_no_percentile():
    assert Histogram().percentiles([0.5, 0.99]) == [None, None]
    assert Histogram().mean_s is None


def test_zero_and_a_year_have_a_bucket():
    assert filled([0.0, HIGHEST_S]).n == 2
    assert filled([0.0]).percentile(0.5) == 0.0


def test_powers_of_two_are_exact_bounds_for_export():
    histogram = filled([0.25, 0.2500001, 0.5, 1.0])

    assert histogram.cumulative([-2, -1, 0]) == [1, 3, 4]


def test_it_survives_the_wire():
    histogram = filled([0.001, 0.2, 3.0])
    raw = msgspec.msgpack.encode(histogram)

    assert msgspec.msgpack.decode(raw, type=Histogram) == histogram


def test_percentiles_of_merged_processes_match_recorded_latencies():
    rng = np.random.default_rng(7)
    parts = [rng.lognormal(mean, 0.8, 5_000) / 1000 for mean in (0, 1, 2, 4)]
    merged = Histogram()
    for part in parts:
        merged.merge(filled(part.tolist()))
    everything = np.concatenate(parts)

    for share in (0.5, 0.95, 0.99, 0.999):
        exact = float(np.percentile(everything, share * 100, method="inverted_cdf"))
        assert math.isclose(merged.percentile(share), exact, rel_tol=ERROR_RATIO)


@pytest.mark.parametrize("count", [1, 7, 8, 500])
def test_many_at_once_count_as_one_by_one(count):
    durations = [0.0, 1.0, 0.5, *(1.1**-place for place in range(count))]
    singly, together = Histogram(), Histogram()
    for seconds in durations:
        singly.add(seconds)
    together.add_all(durations)

    assert (together.n, together.max_us, together.buckets) == (
        singly.n,
        singly.max_us,
        singly.buckets,
    )
    assert 0 <= together.sum_us - singly.sum_us <= together.n
