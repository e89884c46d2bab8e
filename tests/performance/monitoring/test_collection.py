"""What is collected beside requests: other servers, exceptions, templates, memory, machines."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest
import urllib3
from django.template import engines

from performance.core import signals
from performance.monitoring import (
    celery_hooks,
    clock,
    faults,
    outgoing,
    rendering,
    rollups,
    wire,
    worst,
)
from performance.monitoring import (
    recorder as recording,
)
from performance.monitoring.merging import Merger
from performance.monitoring.models import ErrorGroup, RequestSample

pytestmark = pytest.mark.timed


@pytest.fixture
def recorder(monkeypatch, make_recorder):
    made = make_recorder()
    monkeypatch.setattr(signals, "recorder", made)
    return made


def sent(recorder) -> wire.Sample:
    return recorder._swap(0.0, False)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/bad" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def other_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_every_http_client_is_timed_by_host_and_never_by_address(recorder, other_server):
    outgoing.install()
    outgoing.install()  # a second time does nothing
    spent = clock.Clock()
    before = clock.current.set(spent)
    httpx.get(f"{other_server}/?key=secret")
    httpx.get(f"{other_server}/bad")
    async with httpx.AsyncClient() as client:
        await client.get(other_server)
    with urllib3.PoolManager() as pool:  # as botocore and requests do
        pool.request("GET", other_server, retries=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:1/")
    clock.current.reset(before)

    rows = {(kind, key, status): row.n for kind, key, status, row in sent(recorder).series}
    assert rows == {("http_out", "127.0.0.1", "ok"): 3, ("http_out", "127.0.0.1", "error"): 2}
    assert spent.http_s > 0


def fail_in(depth):
    if depth:
        return fail_in(depth - 1)
    raise LookupError("No user 'ann@example.org' in \"here\"")


def raised(depth=2):
    try:
        fail_in(depth)
    except LookupError as error:
        return error


def test_exceptions_group_by_their_function_and_hold_no_values():
    one, other = faults.describe(raised(), "GET /a"), faults.describe(raised(5), "GET /b")

    assert one.fingerprint == other.fingerprint
    assert one.place.startswith("tests/performance/monitoring/test_collection.py:")
    assert one.place.endswith(" fail_in")
    assert "ann" not in one.message
    assert not any(line.startswith("/") for line in one.trace.splitlines())
    assert faults.describe(ValueError("x"), "GET /").fingerprint != one.fingerprint


def test_a_second_has_few_groups_however_many_exceptions(recorder):
    for _ in range(30):
        recorder.fault(raised(), "GET /a")
    for n in range(30):
        recorder.fault(type(f"Error{n}", (Exception,), {})(), "GET /b")

    found = sent(recorder).faults
    assert len(found) == worst.FAULTS_A_SECOND
    assert max(fault.times for fault in found) == 30
    assert sent(recorder).faults == []


def test_a_failed_request_names_its_exception_and_where_its_time_went(recorder):
    spent = clock.Clock()
    spent.error, spent.http_s, spent.render_s = raised(), 0.2, 0.1
    recorder.request("GET /a", 500, 0.5, spent)
    sample = sent(recorder)

    [kept] = sample.requests
    assert (kept.error, kept.http_ms, kept.render_ms) == ("LookupError", 200.0, 100.0)
    assert [(fault.kind, fault.endpoint) for fault in sample.faults] == [("LookupError", "GET /a")]


def test_a_template_counts_once_and_without_what_it_waited_for(recorder):
    rendering.install()
    inner = engines["django"].from_string("{{ wait }}")

    def wait():
        signals.recorder.observe("sql", "x", 5.0)
        return inner.render({"wait": "1"})

    spent = clock.Clock()
    before = clock.current.set(spent)
    assert engines["django"].from_string("{{ wait }}").render({"wait": wait}) == "1"
    clock.current.reset(before)

    assert 0 <= spent.render_s < 1
    assert spent.sql_s == 5.0


def test_memory_that_reaches_a_new_peak_is_the_endpoints(recorder, monkeypatch):
    peak = [1000]
    monkeypatch.setattr(recording, "_peak_kb", lambda: peak[0])
    recorder._peak_kb = 1000
    recorder.request("GET /lean", 200, 0.001)
    peak[0] = 1500
    recorder.request("GET /fat", 200, 0.001)
    recorder.request("GET /lean", 200, 0.001)

    assert sent(recorder).counts == [("memory_growth", "GET /fat", 500 * 1024)]


def test_memory_is_asked_for_by_quick_requests_only_while_it_grows(recorder, monkeypatch):
    peak, asked = [1000], []
    monkeypatch.setattr(recording, "_peak_kb", lambda: asked.append(1) or peak[0])
    monkeypatch.setattr(recording, "WATCHED_S", -1.0)
    recorder._peak_kb = 1000
    sent(recorder)  # it has not grown for long
    asked.clear()
    recorder.request("GET /quick", 200, 0.001)
    assert asked == []

    recorder.request("GET /slow", 200, 0.1)
    assert asked == [1]
    peak[0] = 1200
    found_late = sent(recorder).counts
    peak[0] = 1500
    recorder.request("GET /quick", 200, 0.001)
    assert found_late == [("memory_growth", recording.QUICK, 200 * 1024)]
    assert sent(recorder).counts == [("memory_growth", "GET /quick", 300 * 1024)]


def test_machines_and_builds_are_known_once_however_many_processes(make_recorder):
    merger = Merger(max_series=10)
    samples = [sent(make_recorder(node=f"web-{n}")) for n in (1, 2)]
    for sample in samples:
        sample.build = "v7"
    merger.merge(samples, at_s=100)
    samples = [sent(make_recorder(node="web-3"))]
    samples[0].build = "v8"
    merger.merge(samples, at_s=160)

    assert merger.builds == {"v7": 100, "v8": 160}
    [(host, seen_s)] = merger.hosts.values()
    assert seen_s == 160
    assert 0 < host.memory_used_bytes < host.memory_bytes


def test_an_entry_of_beat_that_is_late_is_told(recorder):
    now = datetime.now(UTC)
    applied = []
    scheduler = SimpleNamespace(apply_entry=lambda entry, producer=None: applied.append(entry))
    celery_hooks._watch_beat(SimpleNamespace(scheduler=scheduler))
    entry = SimpleNamespace(
        name="warm", last_run_at=now - timedelta(seconds=12), default_now=lambda: now,
        schedule=SimpleNamespace(run_every=timedelta(seconds=10)),
    )  # fmt: skip
    scheduler.apply_entry(entry)

    [(kind, key, _, row)] = sent(recorder).series
    assert (kind, key, row.n, row.sum_us) == ("beat_late", "warm", 1, 2_000_000)
    assert applied == [entry]


@pytest.mark.django_db
def test_groups_of_exceptions_are_counted_once_a_minute_written():
    rollups.state()
    at = datetime.now(UTC).replace(second=0, microsecond=0)
    for n in (1, 2):
        minute = rollups.Minute(at + timedelta(minutes=n))
        minute.add_faults([faults.describe(raised(), "GET /a") for _ in range(3)])
        slow = wire.SlowRequest("GET /a", 500, 70.0, 1.0, 1, 2.0, 7, "a", "LookupError", 3.0, 4.0)
        minute.add(rollups.Merged(), [("web-1", slow)], f"{n}-0")
        rollups.write_minute(minute, expected_id=f"{n - 1}-0", newest=rollups.BEGINNING)

    [group] = ErrorGroup.objects.all()
    assert group.times == 6
    assert (group.first_seen_at, group.last_seen_at) == (
        at + timedelta(minutes=1), at + timedelta(minutes=2),
    )  # fmt: skip
    sample = RequestSample.objects.first()
    assert (sample.http_ms, sample.render_ms, sample.other_ms) == (3.0, 4.0, 60.0)
