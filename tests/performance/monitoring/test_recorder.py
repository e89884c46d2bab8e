from __future__ import annotations

import math
import os
import threading
import time
from types import SimpleNamespace

import pytest
import redis

from performance.core import asked
from performance.core.stores import bus
from performance.monitoring import clock, durations, live, wire, worst
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.recorder import StreamRecorder


def sent():
    return [sample for _, sample in live.read_samples("0-0")[0]]


def nobody_listens():
    return redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.1, retry=None)


def test_a_second_is_one_entry_with_everything_counted(make_recorder):
    recorder = make_recorder()
    for ms in range(1, 101):
        recorder.request("GET api/v1/odds", 200, ms / 1000)
    recorder.observe("sql", "board", 0.002, ok=False)
    recorder.count("cache", "board:hit", 41)
    recorder.count("cache", "board:hit")
    recorder.gauge("pool", "default", 3)
    recorder.flush()

    [sample] = sent()
    series = {row[:3]: row[3] for row in sample.series}
    assert series["request", "GET api/v1/odds", "2xx"].n == 100
    assert series["sql", "board", "error"].n == 1
    assert ("cache", "board:hit", 42) in sample.counts
    assert ("pool", "default", 3.0) in sample.gauges
    assert (sample.node, sample.pid) == ("web-1", os.getpid())
    assert sample.rss_bytes > 1_000_000


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf, 1e12, "soon", None])
def test_what_is_no_duration_is_refused_and_counted(make_recorder, value):
    recorder = make_recorder()
    recorder.observe("sql", "x", value)
    recorder.flush()

    [sample] = sent()
    assert sample.series == []
    assert sample.dropped == 1


def test_it_never_raises_while_the_bus_is_down_and_counts_what_it_dropped(make_recorder):
    recorder = make_recorder(bus=nobody_listens, backlog=3)
    for _ in range(8):
        recorder.observe("sql", "x", 0.001)
        assert recorder.flush() is False

    recorder._bus = bus
    recorder.observe("sql", "x", 0.001)
    assert recorder.flush() is True
    recorder.flush()
    kept = sum(row[3].n for sample in sent() for row in sample.series)
    dropped = sum(sample.dropped for sample in sent())
    assert kept == 3
    assert kept + dropped == 9


def test_names_beyond_the_budget_are_folded_and_counted(make_recorder):
    recorder = make_recorder(process_series=10)
    for number in range(25):
        recorder.observe("sql", f"q{number}", 0.001)
    recorder.flush()

    [sample] = sent()
    series = {row[1]: row[3].n for row in sample.series}
    assert len(series) == 11
    assert series[wire.OTHER] == 15
    assert sample.dropped == 15


def test_no_count_is_lost_between_threads_and_flushes(make_recorder):
    recorder = make_recorder()
    threads = [
        threading.Thread(target=lambda: [recorder.observe("sql", "x", 0.001) for _ in range(5000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        recorder.flush()
    recorder.flush()

    assert sum(row[3].n for sample in sent() for row in sample.series) == 20_000


def test_a_forked_child_sends_its_own_numbers_and_none_of_its_parents(make_recorder):
    recorder = StreamRecorder(node="worker", process="worker", bus=bus, conf=MonitoringConf())
    recorder.observe("task", "parent", 0.1)
    assert recorder._thread is not None
    child = os.fork()
    if child == 0:
        recorder.observe("task", "child", 0.1)
        ok = recorder._thread is not None and recorder.flush()
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    recorder.stop()

    names = {sample.pid: {row[1] for row in sample.series} for sample in sent() if sample.series}
    assert names[child] == {"child"}
    assert names[os.getpid()] == {"parent"}


def test_the_thread_sends_each_second_by_itself():
    recorder = StreamRecorder(node="web-1", process="web", bus=bus, conf=MonitoringConf())
    recorder.observe("sql", "x", 0.001)
    deadline = time.monotonic() + 30
    while not sent() and time.monotonic() < deadline:
        time.sleep(0.05)
    recorder.stop()

    assert sent()[0].series
    assert sent()[-1].leaving


def test_only_the_slowest_three_of_a_route_and_failures_are_kept_as_samples(make_recorder):
    recorder = make_recorder(slow_request_ms=10)
    spent = clock.Clock()
    for ms in (5, 20, 30, 40, 50):
        recorder.request("GET a", 200, ms / 1000, spent)
    recorder.request("GET a", 500, 0.001, spent)
    recorder.flush()

    [sample] = sent()
    assert [row.duration_ms for row in sample.requests] == [1.0, 50.0, 40.0, 30.0]


def test_a_sample_knows_the_user_only_when_the_view_asked_for_it(make_recorder):
    session = SimpleNamespace(accessed=True, session_key="abc")
    seen = SimpleNamespace(_cached_user=SimpleNamespace(pk=7), session=session)

    assert clock.who(seen)[0] == 7
    assert clock.who(seen)[1] == clock.session_hash("abc") != "abc"
    assert clock.who(SimpleNamespace()) == (None, "")


def test_queries_and_cache_reads_are_split_off_the_request(make_recorder):
    recorder = make_recorder()
    spent = clock.Clock()
    before = clock.current.set(spent)
    recorder.observe("sql", "x", 0.25)
    recorder.observe("sql", "x", 0.25)
    recorder.observe("cache", "board:load", 0.125)
    clock.current.reset(before)
    recorder.observe("sql", "x", 0.5)

    assert (spent.sql_s, spent.sql_count, spent.cache_s) == (0.5, 2, 0.125)


def test_a_full_list_is_counted_at_once_and_an_idle_series_gives_its_place_away(make_recorder):
    recorder = make_recorder(process_series=1)
    for _ in range(durations.FULL * 3 + 5):
        recorder.observe("sql", "x", 0.001)
    assert len(recorder._fresh) == 5
    for _ in range(durations.IDLE_SECONDS + 1):
        recorder._swap(0, False)
    recorder.observe("sql", "y", 0.001)

    sample = recorder._swap(0, False)
    assert [row[:3] for row in sample.series] == [("sql", "y", "ok")]
    assert sample.dropped == 0


class AskedOnce:
    """What the queries room leaves on a request."""

    def costliest(self, limit):
        return [asked.Statement("f1", "SELECT ?" * 1000, 12, 0.5)][:limit]


def test_a_kept_request_has_its_statements_and_their_text_is_sent_once(make_recorder):
    recorder = make_recorder(slow_request_ms=10)
    for _ in range(2):
        spent = clock.Clock()
        spent.request = SimpleNamespace()
        asked.leave(spent.request, AskedOnce())
        recorder.request("GET a", 200, 0.9, spent)
    recorder.flush()

    [sample] = sent()
    assert [row.statements for row in sample.requests] == [[("f1", 12, 500.0)]] * 2
    assert sample.statements == {"f1": ("SELECT ?" * 1000)[: worst.LONGEST_SQL]}
