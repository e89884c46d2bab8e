from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import pytest
from django.apps import apps

from performance.core.stores import bus
from performance.monitoring import rollups
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.models import AlertRule
from performance.monitoring.recorder import StreamRecorder


@pytest.fixture(autouse=True)
def _no_ids_of_other_tests():
    rollups.forget_ids()


@pytest.fixture
def seeded(db):
    """The rules as the migrations make them: a flush by an earlier test takes them away."""
    if not AlertRule.objects.exists():
        for name, step in (
            ("0002_seed_alert_rules", "seed"),
            ("0003_calm_rules", "calm"),
            ("0005_seed_budgets", "seed_budgets"),
            ("0006_edge_out", "seed"),
            ("0008_silences_and_database_rule", "sharpen"),
            ("0010_scaling_rules", "seed"),
        ):
            migration = import_module(f"performance.monitoring.migrations.{name}")
            getattr(migration, step)(apps, None)


@pytest.fixture
def make_recorder():
    """Make recorders of several processes; none of them sends by itself."""
    made = []

    def make(node="web-1", process="web", bus=bus, **options):
        recorder = StreamRecorder(
            node=node, process=process, bus=bus, conf=MonitoringConf(**options)
        )
        recorder._stop.set()  # no thread: a test decides when a second ends
        made.append(recorder)
        return recorder

    return make


class Receiver(ThreadingHTTPServer):
    """Takes webhooks; answers with the next of `answers`, then with 200."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got = []
        self.answers = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook?key=1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
