"""An edge behind the proxy that dies under load: nobody notices, and it is used again after."""

import http.client
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from performance.balancing.services import planned_node, proxy_command, render_proxy
from protipp.stack.ports import free_port
from tests.conftest import program

from . import edges

pytestmark = pytest.mark.timed

pytestmark = pytest.mark.timed

THREADS = 6


class Site:
    """Proxy, Varnish and two origins, as `up --edge` joins them."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="protipp-edge-"))
        self.origins = [edges.Origin(), edges.Origin()]
        self.port, origin_port = free_port(), free_port()
        (self.folder / "varnish").mkdir()
        self.varnish = edges.Varnish(self.folder / "varnish", origin_port)
        render_proxy(
            [
                planned_node(f"web-{number}", "web", f"127.0.0.1:{origin.server_port}")
                for number, origin in enumerate(self.origins, start=1)
            ],
            port=self.port,
            directory=self.folder / "haproxy",
            edge=f"127.0.0.1:{self.varnish.port}",
            origin_port=origin_port,
        )
        self.proxy = subprocess.Popen(
            proxy_command(self.folder / "haproxy"), stderr=subprocess.DEVNULL
        )

    def get(self, path, **headers):
        return edges.get(self.port, path, **headers)

    def from_edge(self, path="/page"):
        """Whether Varnish took part in the answer."""
        return "edge" in (self.get(path)[1]["Cache-Status"] or "")

    def end(self):
        self.proxy.terminate()
        self.proxy.wait(10)
        self.varnish.kill()
        for origin in self.origins:
            origin.end()
        shutil.rmtree(self.folder)


def until(true, within_s=30):
    deadline = time.monotonic() + within_s
    while True:
        try:
            if found := true():
                return found
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site():
    program("varnishd")
    made = Site()
    until(lambda: made.from_edge())
    yield made
    made.end()


class Load:
    """Visitors that keep their connections; `seen` counts answers, and what was none."""

    def __init__(self, port):
        self.port, self.seen, self.ended = port, Counter(), threading.Event()
        self.threads = [threading.Thread(target=self._visit) for _ in range(THREADS)]

    def _visit(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        number = 0
        while not self.ended.is_set():
            number += 1
            try:
                connection.request("GET", f"/load/{number % 20}")
                answer = connection.getresponse()
                said = answer.read()
                self.seen[answer.status if answer.status == 200 else said[:300]] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen[repr(error)] += 1
                connection.close()
            time.sleep(0.002)
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def more(self, count):
        wanted = sum(self.seen.values()) + count
        until(lambda: sum(self.seen.values()) >= wanted)


def test_varnish_killed_three_times_under_load_costs_no_request(site):
    with Load(site.port) as load:
        for _ in range(3):
            load.more(200)
            site.varnish.kill()
            load.more(200)
            site.varnish.start()
            until(site.from_edge)

    assert set(load.seen) == {200}


def test_a_person_who_is_logged_in_never_meets_the_edge(site):
    _, headers, _ = site.get("/page", Cookie="sessionid=x")

    assert headers["Cache-Status"] is None


def test_strangers_purge_nothing_through_the_proxy(site):
    site.get("/kept")
    until(lambda: "hit" in site.get("/kept")[1]["Cache-Status"])
    before = site.get("/kept")[2]
    edges.get(site.port, "/kept", "PURGE")
    edges.get(site.port, "/", "PURGE", xkey_purge="page")

    assert site.get("/kept")[2] == before


def test_with_both_origins_dead_the_edge_still_answers(site):
    site.get("/last")
    for origin in site.origins:
        origin.end()
    time.sleep(1.5)

    assert [site.get("/last")[0] for _ in range(5)] == [200] * 5
    assert site.get("/never-seen")[0] == 503
    assert site.varnish.get("/edge-ready")[0] == 200


def test_an_edge_that_has_not_met_the_origin_is_not_ready(site):
    for origin in site.origins:
        origin.end()
    site.varnish.kill()
    site.varnish.start()

    assert site.varnish.get("/edge-ready")[0] == 503
