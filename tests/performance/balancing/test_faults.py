"""What clients notice, counted under load, when parts of the balancing die: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from performance.balancing import services
from performance.balancing.registry import Registry
from performance.core import stores

from .conftest import load, wait_for
from .test_balancer import OPTIONS, dead_bus, run, world

__all__ = ["world"]
pytestmark = pytest.mark.stack
KEYED = {"Idempotency-Key": "k1"}


def test_a_node_killed_under_load_fails_no_keyed_post(cluster):
    three = cluster("web-1", "web-2", "web-3")
    with load(three, method="POST", headers=KEYED) as seen:
        seen.more(60)
        three.kill("web-2")
        wait_for(lambda: three.runtime.view().of("web")["web-2"].status == "DOWN", "web-2 down")
        seen.more(60)

    assert seen["failed"] == 0


def test_a_frozen_node_leaves_the_rotation_and_comes_back(cluster):
    two = cluster("web-1", "web-2")
    group = two.processes["web-1"].pid
    os.killpg(group, signal.SIGSTOP)
    try:
        wait_for(lambda: two.runtime.view().of("web")["web-1"].status == "DOWN", "web-1 down")
        assert two.ask("/").headers["x-node"] == "web-2"
    finally:
        os.killpg(group, signal.SIGCONT)
    two.await_up("web-1")


def test_the_proxy_restarts_its_own_process_and_loses_nothing(cluster):
    two = cluster("web-1", "web-2")
    before = two.runtime.ask("show info")
    with load(two) as seen:
        seen.more(40)
        two.proxy.send_signal(signal.SIGUSR2)  # the master executes itself anew
        wait_for(lambda: worker_of(two.runtime.ask("show info")) != worker_of(before), "a new one")
        seen.more(40)

    assert seen["failed"] == 0
    assert two.proxy.poll() is None
    assert set(two.runtime.view().of("web")) == {"web-1", "web-2"}


def worker_of(info):
    return next(line for line in info.splitlines() if line.startswith("Pid:"))


def test_when_every_node_is_sick_all_are_tried_and_answer(cluster):
    two = cluster("web-1", "web-2")
    with load(two) as seen:
        for name in ("web-1", "web-2"):
            two.runtime.change(f"set server web/{name} health down")
        seen.more(60)

    assert seen["failed"] == 0


@pytest.mark.django_db
def test_the_bus_gone_for_ten_seconds_of_ticks_changes_and_fails_nothing(world):
    two = world("web-1", "web-2", executor=False)
    registry, bus = two.balancer._registry, two.balancer._bus
    with load(two.cluster, threads=2) as seen:
        two.balancer._registry, two.balancer._bus = Registry(dead_bus(), OPTIONS), dead_bus()
        for _ in range(12):  # each tick is a second in production
            two.round(announce=False)
        there = set(two.cluster.runtime.view().of("web"))
        two.balancer._registry, two.balancer._bus = registry, bus
        two.round()

    assert seen["failed"] == 0
    assert there == {"web-1", "web-2"}
    assert "bus" not in two.balancer._troubles.now()


LEADER = """
    import threading
    from pathlib import Path
    import django
    django.setup()
    from performance.balancing import services
    services.run_balancer(Path({directory!r}), threading.Event())
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_leader_is_followed_and_nobody_fails(cluster, caplog):
    one = cluster("web-1", options=OPTIONS)
    Registry(stores.bus(), OPTIONS).announce(one.nodes["web-1"], 1)
    code = textwrap.dedent(LEADER).format(directory=str(one.directory))
    environment = {**os.environ, "DATABASE_URL": database_url(), "PYTHONPATH": str(Path.cwd())}
    leader = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    )
    stopped = threading.Event()
    follower = threading.Thread(target=run, args=(one.directory, stopped))
    try:
        assert any("Leading with token" in line for line in leader.stderr)
        follower.start()
        wait_for(lambda: "Another balancer leads" in caplog.text, "one who waits")
        first = wait_for(services.balancer.status, "a leader")["token"]
        with load(one, threads=2) as seen:
            leader.kill()
            # It looks every 2 s, and the promise is 5; a busy machine may take longer.
            wait_for(
                lambda: (services.balancer.status() or {"token": first})["token"] > first,
                "the next leader",
                within_s=15,
            )
            seen.more(20)
        assert seen["failed"] == 0
    finally:
        stopped.set()
        leader.kill()
        leader.wait()
        leader.stderr.close()
        if follower.is_alive():
            follower.join()


def database_url():
    from django.db import connection

    found = connection.settings_dict
    return f"postgresql://{found['USER']}@/{found['NAME']}?host={found['HOST']}"
