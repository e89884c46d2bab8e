"""Numbers and alerts while everything is killed: the load generator's own count is the judge."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.stack

TOKEN = "a-token-of-the-tests"
COUNTED = re.compile(
    r'protipp_request_duration_seconds_count\{method="(\w+)",route="\(no route\)",'
    r'status="4xx"\} (\S+)'
)
SETUP = """
from performance.monitoring.models import AlertChannel, AlertRule
AlertRule.objects.all().delete()
AlertRule.objects.create(name="Load", metric="throughput", selector="GET (no route)",
                         fire_at=0.1, clear_at=0.05, for_s=1, keep_firing_s=1)
AlertChannel.objects.create(name="hook", kind="webhook", address="{url}",
                            secret="a secret of our own", group_wait_s=0)
"""


class Receiver(ThreadingHTTPServer):
    """Takes webhooks and keeps what they tell."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.told = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told += [(row["event_id"], row["event"]) for row in json.loads(body)["alerts"]]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


class Load:
    """A few visitors who ask for a page that is not there, and count the answers of the nodes."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/no/such/page"
        self.answered = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self):
        while not self._stop.wait(0.01):
            try:
                urllib.request.urlopen(self.url, timeout=10).close()
                status = 200
            except urllib.error.HTTPError as error:
                status = error.code
                error.close()
            except OSError:
                status = 0
            with self._lock:
                if status == 404:
                    self.answered += 1
                else:
                    self.refused += 1


@pytest.fixture(scope="module")
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def watched(new_up, receiver):
    """A stack whose alerts may come to us."""
    options = {"MONITORING": {"webhook_networks": ["127.0.0.0/8"]}}
    stack = new_up(PERFORMANCE=json.dumps(options), METRICS_TOKEN=TOKEN).start()
    stack.command("shell", "-c", SETUP.format(url=receiver.url))
    return stack


def counted(stack, method="GET"):
    """How many of our requests the merged counters have; None while nobody can say."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{stack.port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    found = dict(COUNTED.findall(text)).get(method)
    if found is None:
        return 0 if "protipp_bus_up 1" in text else None
    return int(float(found))


def kill(stack, name):
    os.kill(stack.noted()[name], signal.SIGKILL)


def grown(stack):
    """Wait until numbers arrive again after what was killed."""
    before = stack.until(lambda: counted(stack) or None)
    stack.until(lambda: (counted(stack) or 0) > before)


def settled(stack):
    """Return our count once the counters hold a later request: nothing comes afterwards."""
    [before] = stack.until(lambda: [n for n in [counted(stack, "HEAD")] if n is not None])
    url = f"http://127.0.0.1:{stack.port}/no/such/page"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30)
    stack.until(lambda: (counted(stack, "HEAD") or 0) > before)
    return stack.until(lambda: counted(stack))


def test_kills_of_monitor_bus_and_database_lose_no_request_and_tell_no_alert_twice(
    watched, receiver
):
    with Load(watched.port) as load:
        watched.until(lambda: load.answered > 50)
        kill(watched, "monitor")  # about when the alert is to be told
        grown(watched)
        kill(watched, "valkey-bus")
        grown(watched)
        kill(watched, "postgres")
        watched.until(lambda: watched.status("/readyz") == 200)
        grown(watched)
    watched.until(lambda: receiver.told)

    watched.until(lambda: counted(watched) == load.answered)
    assert settled(watched) == load.answered
    ids = [event_id for event_id, _ in receiver.told]
    assert len(ids) == len(set(ids))
    assert [event for _, event in receiver.told].count("fired") == 1


def test_a_killed_web_process_takes_a_second_with_it_and_the_rest_adds_up(watched):
    before = watched.until(lambda: counted(watched))
    with Load(watched.port) as load:
        watched.until(lambda: load.answered > 300)
        began = load.answered
        kill(watched, "web-1")
        watched.until(lambda: load.answered > began + 150)
        at_risk = load.answered - began + 150  # what it had answered since it last told
    watched.until(lambda: (counted(watched) or 0) >= before + load.answered - at_risk)
    lost = before + load.answered - settled(watched)

    assert 0 <= lost <= at_risk
    again = counted(watched)
    with Load(watched.port) as load:
        watched.until(lambda: load.answered > 100)
    watched.until(lambda: counted(watched) == again + load.answered)
