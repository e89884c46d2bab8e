"""What people notice when a part of a running site dies: nothing, or a moment of honest waiting.

One stack for all; each test kills something and leaves when it works again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import contextmanager

import celery
import httpx
import psutil
import psycopg
import pytest
import redis
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

pytestmark = pytest.mark.stack

CACHED = ("/", "/arbitrage/", "/api/v1/sports")
NEVER_ASKED = "/api/v1/odds?sport={sport}&commenceTimeFrom=20{number:02d}-01-01T00:00:00Z"
RECOVERS_WITHIN_S = 20
QUICK = {"BALANCING": {"tick_s": 0.3, "drain_spread_s": 2}}


@pytest.fixture(scope="module")
def market(new_up):
    stack = new_up(source="simulate", PERFORMANCE=json.dumps(QUICK)).start()
    stack.until(lambda: stack.json("/api/v1/arbitrage")["opportunities"])
    return stack


@pytest.fixture(scope="module")
def servers(market):
    return json.loads((market.local / "stack.json").read_text())["environment"]


@pytest.fixture(scope="module")
def staff(market):
    """A logged-in member of staff's browser."""
    with httpx.Client(base_url=f"http://127.0.0.1:{market.port}", timeout=10) as client:
        client.get("/admin/login/")
        form = {
            "username": "admin",
            "password": market.password(),
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        assert client.post("/admin/login/?next=/admin/", data=form).status_code == 302
        yield client


class Socket:
    """Follows one address as our pages do: reads, and connects again when it was cut."""

    def __init__(self, market, path, cookies=None):
        self.frames, self.ends, self.stopped = [], [], threading.Event()
        cookie = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
        self._url = f"ws://127.0.0.1:{market.port}{path}"
        self._options = {
            "origin": f"http://127.0.0.1:{market.port}",
            "additional_headers": {"Cookie": cookie} if cookie else {},
            "open_timeout": 5,
        }
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        while not self.stopped.is_set():
            try:
                with connect(self._url, **self._options) as socket:
                    self._read(socket)
            except (WebSocketException, OSError, TimeoutError) as error:
                self.ends.append(getattr(getattr(error, "rcvd", None), "code", repr(error)))
            self.stopped.wait(0.3)

    def _read(self, socket):
        while not self.stopped.is_set():
            try:
                frame = json.loads(socket.recv(timeout=0.5))
            except TimeoutError:
                continue
            self.frames.append(frame)
            if frame["type"] == "move":
                return  # a page leaves within `within_s`; we leave now

    def types(self, since=0):
        return [frame["type"] for frame in self.frames[since:]]


@pytest.fixture(scope="module")
def sockets(market, staff):
    sport = market.json("/api/v1/sports")[0]["key"]
    both = (
        Socket(market, f"/ws/odds/?sport={sport}"),
        Socket(market, "/ws/performance/monitor/", dict(staff.cookies)),
    )
    market.until(lambda: all(socket.frames for socket in both), within_s=20)
    yield both
    for socket in both:
        socket.stopped.set()


@contextmanager
def load(market, *paths, threads=4):
    """Ask for `paths` all the time; the list given fills with (path, status or error)."""
    said, stopped = [], threading.Event()

    def ask(number):
        with httpx.Client(
            base_url=f"http://127.0.0.1:{market.port}", timeout=10, verify=False
        ) as client:
            while not stopped.is_set():
                path = paths[number % len(paths)]
                number += 1
                try:
                    said.append((path, client.get(path).status_code))
                except httpx.HTTPError as error:
                    said.append((path, repr(error)))
                time.sleep(0.02)

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
    for thread in asking:
        thread.start()
    try:
        market.until(lambda: len(said) > 20, within_s=20)
        yield said
    finally:
        stopped.set()
        for thread in asking:
            thread.join()


def bad(said):
    return [one for one in said if one[1] != 200]


def kill(market, name, number=signal.SIGKILL):
    """Kill a process of the stack; return once the supervisor has started it again."""
    pid = market.noted()[name]
    os.kill(pid, number)
    market.until(lambda: market.noted().get(name, pid) != pid, within_s=30)


def works(market, servers, sockets):
    """Wait until the monitor, the balancer, the worker and all sockets work again."""
    bus = redis.Redis.from_url(servers["REDIS_URL"])
    app = celery.Celery(broker=servers["REDIS_URL"], set_as_current=False)
    seen = [len(socket.frames) for socket in sockets]
    market.until(lambda: _answers(bus), within_s=RECOVERS_WITHIN_S)
    newest = _newest_second(bus)
    app.send_task("performance.caching.publish_settings")
    conditions = {
        "monitor": lambda: _newest_second(bus) > newest + 1,
        "balance": lambda: bus.exists("balancing:status"),
        "worker": lambda: bus.llen("celery") == 0,
        "sockets": lambda: all(len(s.frames) > n for s, n in zip(sockets, seen, strict=True)),
    }
    began, missing = time.monotonic(), dict(conditions)
    while missing:
        missing = {name: true for name, true in missing.items() if not true()}
        assert time.monotonic() - began < RECOVERS_WITHIN_S, f"still waiting for {[*missing]}"
        time.sleep(0.1)
    bus.close()


def _answers(bus):
    try:
        return bus.ping()
    except redis.RedisError:
        return False


def _newest_second(bus):
    newest = bus.xrevrange("perf:seconds", count=1)
    return int(newest[0][0].partition(b"-")[0]) if newest else 0


def broken_histories(servers):
    """Return how many prices differ from the last change that their history has."""
    with psycopg.connect(servers["DATABASE_URL"]) as connection:
        return connection.execute(
            "select count(*) from odds_price p left join lateral ("
            "  select price from odds_pricechange c where c.price_id = p.id"
            "  order by recorded_at desc limit 1) last on true "
            "where case when p.suspended_at is null then last.price is distinct from p.price"
            "  else last.price is not null end"
        ).fetchone()[0]


def prices_moved(servers):
    with psycopg.connect(servers["DATABASE_URL"]) as connection:
        return connection.execute("select max(changed_at) from odds_price").fetchone()[0]


def test_nobody_sees_a_web_node_die(market):
    with load(market, *CACHED, "/healthz") as said:
        time.sleep(0.5)
        kill(market, "web-1")
        time.sleep(1)

    assert bad(said) == []


def test_a_killed_feed_goes_on_where_it_was(market, servers):
    before = prices_moved(servers)
    kill(market, "feed")

    market.until(lambda: prices_moved(servers) > before, within_s=RECOVERS_WITHIN_S)
    assert broken_histories(servers) == 0


def test_monitor_balancer_worker_and_sockets_come_back(market, servers, sockets):
    for name in ("worker", "monitor", "balance", "live-1"):
        kill(market, name)

    works(market, servers, sockets)


def test_pages_are_there_while_the_cache_server_is_not(market):
    sport = market.json("/api/v1/sports")[0]["key"]
    with load(market, *CACHED, f"/api/v1/odds?sport={sport}") as said:
        kill(market, "valkey-cache")
        time.sleep(2)

    assert bad(said) == []


def test_the_site_goes_on_without_the_bus_and_the_rest_comes_back(market, servers, sockets, staff):
    with load(market, *CACHED, "/admin/login/") as said:
        kill(market, "valkey-bus")
        began = time.monotonic()
        assert staff.get("/admin/").status_code == 200  # the session is in PostgreSQL too
        assert time.monotonic() - began < 5
        time.sleep(1)
    works(market, servers, sockets)

    assert bad(said) == []


def test_cached_pages_are_there_while_postgresql_is_not(market, servers, sockets, staff):
    sport = market.json("/api/v1/sports")[0]["key"]
    before = prices_moved(servers)
    with load(market, *CACHED) as said:
        pid = market.noted()["postgres"]
        os.kill(pid, signal.SIGKILL)
        answers = []
        for number in range(30, 99):
            began = time.monotonic()
            path = NEVER_ASKED.format(sport=sport, number=number)
            for client_path in (path, "/admin/"):
                answer = staff.get(client_path)
                answers.append((client_path, answer, time.monotonic() - began))
                began = time.monotonic()
            if market.noted().get("postgres", pid) != pid and answer.status_code == 200:
                break
            time.sleep(0.1)
        market.until(lambda: prices_moved_or_none(servers) not in (None, before), within_s=20)

    assert bad(said) == []
    # None is refused when the supervisor's new server is there before the next question.
    refused = [(path, answer, took_s) for path, answer, took_s in answers if answer.is_error]
    for path, answer, took_s in refused:
        assert answer.status_code == 503, (path, answer.text[:300])
        assert answer.headers["Retry-After"]
        assert took_s < 4
    works(market, servers, sockets)
    assert broken_histories(servers) == 0


@contextmanager
def paused(pid):
    """Stop a process and all its children, and let them go on at the end."""
    server = psutil.Process(pid)
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            if process.is_running():
                process.resume()


def prices_moved_or_none(servers):
    try:
        return prices_moved(servers)
    except psycopg.OperationalError:
        return None


def well(answers):
    return {status for _, status in answers} == {200, 404}


def test_a_paused_postgresql_leaves_no_thread_behind(market, servers):
    sport = market.json("/api/v1/sports")[0]["key"]
    uncached = [NEVER_ASKED.format(sport=sport, number=number) for number in range(10, 30)]
    with (
        load(market, "/healthz") as said,
        paused(market.noted()["postgres"]),
        load(market, *uncached, threads=8),
    ):
        time.sleep(5)

    assert bad(said) == []
    with load(market, "/arbitrage/?bankroll=7", "/events/none/", threads=16) as after:
        # The breaker asks again once a second, so the first answers may still be 503.
        market.until(lambda: len(after) > 100 and well(after[-100:]), within_s=10)


def test_a_drained_live_node_sends_its_sockets_to_another(market, servers, sockets):
    market.command("scale", "live=2")
    market.until(lambda: "live-2" in market.noted(), within_s=30)
    bus = redis.Redis.from_url(servers["REDIS_URL"])
    market.until(lambda: b'"id": "live-2"' in (bus.get("balancing:status") or b""), within_s=30)
    bus.close()
    seen = [len(socket.frames) for socket in sockets]
    market.command("drain_node", "live-1")

    market.until(lambda: "live-1" not in market.noted(), within_s=60)
    odds, page = sockets
    assert 1012 in odds.ends
    assert "move" in page.types(seen[1])
    works(market, servers, sockets)


def test_a_drained_web_node_fails_no_request(market):
    with load(market, *CACHED, "/healthz") as said:
        market.command("drain_node", "web-2")
        market.until(lambda: "web-2" not in market.noted(), within_s=60)

    assert bad(said) == []
