from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from performance.core.stores import bus
from performance.monitoring import live, partitions, reads, rollups, wire
from performance.monitoring.alerting import Watch
from performance.monitoring.errors import Superseded
from performance.monitoring.histogram import Histogram
from performance.monitoring.keeping import Keeper
from performance.monitoring.merging import Merged, Merger
from performance.monitoring.models import MetricHour, MetricMinute, MetricSeries, RequestSample
from performance.monitoring.roller import Roller

NOW_S = 1_764_000_000 // 60 * 60
"""A whole minute, in the past: the streams take ids of our choice only in growing order."""


def send(second: int, *, node="web-1", pid=1, number=None, n=10, ms=5.0, place=0, key="GET a"):
    """Put one process's second on the bus, as if at NOW_S + second."""
    histogram = Histogram()
    for _ in range(n):
        histogram.add(ms / 1000)
    sample = wire.Sample(
        node=node, process="web", pid=pid, number=number or second + 1, born=1, span_s=1.0,
        series=[("request", key, "2xx", histogram)], counts=[("cache", "board:hit", n)], gauges=[],
        rss_bytes=1000, cpu_s=0.1, lag_ms=0.0, cost_ms=0.0, dropped=0,
        requests=[wire.SlowRequest(key, 200, ms, 1.0, 2, 0.5, 7, "abc", "")],
    )  # fmt: skip
    entry = f"{(NOW_S + second) * 1000}-{pid + place}"
    bus().xadd(wire.SAMPLES, {"s": wire.encoder.encode(sample)}, id=entry)


def roller(minutes_id="0-0"):
    made = Roller(Watch(), minutes_id=minutes_id)
    made.resume()
    return made


def seconds():
    raw = bus().xrange(wire.SECONDS)
    return [wire.second_decoder.decode(fields[b"s"]) for _, fields in raw]


def requests_in(rows):
    return sum(row[3].n for row in rows if row[0] == "request")


def test_two_processes_are_merged_with_exact_counts():
    send(0, pid=1, n=10)
    send(0, pid=2, n=7, ms=200)
    made = roller()

    assert made.tick() == 1
    [second] = seconds()
    assert requests_in(second.series) == 17
    assert ("cache", "board:hit", 17) in second.counts
    [point] = live.read_points(10)
    assert (point.requests, point.processes, point.memory_bytes) == (17, 2, 2000)
    assert point.p99_ms == pytest.approx(200, rel=0.022)


def test_each_second_has_its_own_number_and_none_is_counted_twice():
    made = roller()
    for second in range(5):
        send(second)
        made.tick()

    assert [second.sequence for second in seconds()] == [1, 2, 3, 4, 5]
    assert made.tick() == 0
    assert requests_in(seconds()[-1].series) == 10


def test_a_resent_sample_counts_once():
    send(0, number=1)
    send(1, number=1)
    made = roller()
    made.tick()

    assert sum(requests_in(second.series) for second in seconds()) == 10
    assert made.merger.refused == 1


def test_a_late_sample_goes_into_the_next_second():
    made = roller()
    send(0)
    made.tick()
    send(0, pid=2, number=1, place=1)

    assert made.tick() == 0
    send(1)
    assert made.tick() == 1
    assert requests_in(seconds()[-1].series) == 20


def test_a_killed_monitor_reads_on_where_its_records_end():
    first = roller()
    for second in range(3):
        send(second)
        first.tick()
    for second in range(3, 6):  # nobody leads meanwhile
        send(second)
    second_monitor = roller()
    second_monitor.tick()

    assert sum(requests_in(second.series) for second in seconds()) == 60
    assert [second.sequence for second in seconds()] == [1, 2, 3, 4, 5, 6]
    assert requests_in([(*k, h) for k, h in second_monitor.totals.series.items()]) == 60


def test_of_two_monitors_the_second_is_refused_the_second_time():
    one, two = roller(), roller()
    send(0)
    assert one.tick() == 1

    with pytest.raises(Superseded):
        two.tick()
    assert sum(requests_in(second.series) for second in seconds()) == 10


def test_a_sample_that_cannot_be_decoded_is_counted_and_skipped():
    bus().xadd(wire.SAMPLES, {"s": b"\xc1nonsense"}, id=f"{NOW_S * 1000}-1")
    send(1)
    made = roller()
    made.tick()

    assert made.undecodable == 1
    assert requests_in(seconds()[-1].series) == 10


def test_a_wiped_bus_is_noticed_and_rolling_goes_on():
    made = roller()
    send(100)
    made.tick()
    bus().delete(wire.SAMPLES)
    send(1, number=200)
    made.tick()  # notices
    for _ in range(4):
        made.tick()

    assert seconds()[-1].sequence == 2


def test_names_beyond_the_cap_share_one_series():
    merger = Merger(max_series=20)
    rows = []
    for number in range(50):
        histogram = Histogram()
        histogram.add(0.01)
        rows.append(("request", f"GET {number}", "2xx", histogram))
    sample = wire.Sample("n", "web", 1, 1, 1, 1.0, rows, [], [], 0, 0.0, 0.0, 0.0, 0, [])
    merged = merger.merge([sample], NOW_S)

    assert len(merged.series) == 21
    assert merged.series["request", wire.OTHER, "2xx"].n == 30


def test_the_window_forgets_what_is_older_than_a_minute():
    made = roller()
    for second in range(70):
        send(second)
    made.tick()

    assert made.window.total.of_kind("request").n == 600
    assert made.window.span_s == 60


def run_minutes(minutes: int, *, begin: int = 1) -> None:
    for second in range(begin, begin + minutes * 60):
        send(second)


@pytest.mark.django_db
def test_minutes_are_stored_once_over_a_restart_in_the_middle():
    run_minutes(2)
    send(121)
    first = roller()
    keeper = Keeper(first, first.watch, minutes_id="0-0")
    first.tick()
    assert keeper.save_minutes() == 2

    for second in range(122, 200):
        send(second)
    again = roller(minutes_id=rollups.state().last_id)
    after = Keeper(again, again.watch, minutes_id=rollups.state().last_id)
    again.tick()
    after.save_minutes()

    rows = MetricMinute.objects.filter(series__kind="request").order_by("at")
    assert [row.n for row in rows] == [600, 600, 600]
    assert rows[0].buckets
    assert rows[0].at == datetime.fromtimestamp(NOW_S, UTC)
    assert RequestSample.objects.count() == 3 * rollups.SLOWEST_A_ROUTE
    memory = MetricMinute.objects.filter(series__kind="memory").first()
    assert memory.total / memory.n == 1000


@pytest.mark.django_db
def test_of_two_monitors_one_stores_a_minute_and_the_other_stands_down():
    run_minutes(1)
    send(61)
    one = roller()
    two = roller()
    one.tick()
    with pytest.raises(Superseded):
        two.tick()
    keepers = [Keeper(each, each.watch, minutes_id="0-0") for each in (one, two)]
    two.minutes.append(rollups.Minute(datetime.fromtimestamp(NOW_S, UTC), "1-0"))

    assert keepers[0].save_minutes() == 1
    with pytest.raises(Superseded):
        keepers[1].save_minutes()
    assert MetricMinute.objects.filter(series__kind="request").count() == 1


@pytest.mark.django_db
def test_a_commit_whose_answer_was_lost_is_not_written_again():
    run_minutes(1)
    send(61)
    made = roller()
    made.tick()
    minute = made.minutes[0]
    rollups.write_minute(minute, expected_id=rollups.state().last_id, newest=rollups.BEGINNING)
    keeper = Keeper(made, made.watch, minutes_id="0-0")

    assert keeper.save_minutes() == 1
    assert MetricMinute.objects.filter(series__kind="request").get().n == 600


@pytest.mark.django_db
def test_an_hour_is_the_sum_of_its_minutes_and_written_once():
    begin = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
    expected = rollups.state().last_id
    newest = rollups.BEGINNING
    for number in range(3):
        merged = Merged()
        histogram = Histogram()
        for _ in range(number + 1):
            histogram.add(0.1 * (number + 1))
        merged.series["request", "GET a", "2xx"] = histogram
        minute = rollups.Minute(begin + timedelta(minutes=number), f"{number + 1}-0", merged)
        newest = rollups.write_minute(minute, expected_id=expected, newest=newest)
        expected = minute.last_id

    assert rollups.write_hours(begin + timedelta(minutes=30)) == 0
    rollups.write_hours(begin + timedelta(hours=1, minutes=1))
    rollups.write_hours(begin + timedelta(hours=1, minutes=1))
    hour = MetricHour.objects.get()
    assert (hour.n, hour.greatest) == (6, 300_000)
    assert sum(hour.buckets.values()) == 6
    [span] = reads.read(begin, begin + timedelta(hours=1), hours=True).values()
    assert span.of_kind("request").percentile(1.0) == pytest.approx(0.3, rel=0.022)


@pytest.mark.django_db
def test_old_partitions_are_dropped_and_new_ones_made_ahead():
    at = datetime(2026, 1, 1, 10, tzinfo=UTC)
    for kind in partitions.ALL:
        partitions.ensure(kind, at)
        partitions.ensure(kind, at)
    assert len(partitions.existing(partitions.MINUTES)) >= 2

    dropped = rollups.prune(at + timedelta(days=16))
    assert "performance_monitoring_metricminute_20260101" in dropped
    assert "performance_monitoring_metrichour_20260101" not in dropped
    assert "performance_monitoring_metrichour_20260101" in rollups.prune(at + timedelta(days=440))


@pytest.mark.django_db
def test_series_ids_are_given_once(django_assert_num_queries):
    keys = [("sql", f"q{number}", "ok") for number in range(50)]
    first = rollups.series_ids(keys)

    with django_assert_num_queries(0):
        assert rollups.series_ids(keys) == first
    assert MetricSeries.objects.count() == 50


def test_a_process_whose_node_was_started_again_is_not_missed():
    merger = Merger(max_series=20)

    def heard(pid, born, at_s):
        merger.merge([sample_of(pid, born)], at_s)

    heard(1, 10, 100.0)
    heard(2, 20, 103.0)
    assert {pid for _, pid in merger.processes} == {1, 2}
    heard(2, 20, 110.0)

    assert {pid for _, pid in merger.processes} == {2}


def sample_of(pid, born):
    return wire.Sample(
        node="web-1", process="web", pid=pid, number=merged_once(), born=born, span_s=1.0,
        series=[], counts=[], gauges=[], rss_bytes=1, cpu_s=0.0, lag_ms=0.0, cost_ms=0.0,
        dropped=0, requests=[], leaving=False,
    )  # fmt: skip


merged_once = iter(range(1, 1000)).__next__
