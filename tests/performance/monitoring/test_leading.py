from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from performance.core.stores import bus
from performance.monitoring import live, wire

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def monitors(transactional_db, tmp_path):
    """Start real monitor processes over the tests' own database; all are ended afterwards."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    url = parts._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    started = []

    def start(node):
        environment = os.environ | {
            "DATABASE_URL": url, "PROTIPP_PROCESS": "monitor", "PROTIPP_NODE_ID": node
        }  # fmt: skip
        log = (tmp_path / node).open("w")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "monitor"], cwd=ROOT, env=environment, stderr=log
        )
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def sequence():
    last = live.last_second()
    return last.sequence if last else 0


def test_another_monitor_takes_over_a_killed_one_and_nothing_counts_twice(monitors, make_recorder):
    recorder = make_recorder()
    one = monitors("monitor-1")
    wait_for(lambda: sequence() >= 2)
    two = monitors("monitor-2")
    for _ in range(10):
        recorder.request("GET a", 200, 0.01)
    recorder.flush()
    reached = sequence()
    one.send_signal(signal.SIGKILL)
    one.wait()
    for _ in range(5):
        recorder.request("GET a", 200, 0.01)
    recorder.flush()
    wait_for(lambda: sequence() >= reached + 3)
    raw = bus().xrange(wire.SECONDS)
    seconds = [wire.second_decoder.decode(fields[b"s"]) for _, fields in raw]
    counted = sum(
        row[3].n for second in seconds for row in second.series if row[:2] == ("request", "GET a")
    )

    assert counted == 15
    assert [second.sequence for second in seconds] == list(range(1, len(seconds) + 1))
    two.send_signal(signal.SIGTERM)
    assert two.wait(timeout=30) == 0
