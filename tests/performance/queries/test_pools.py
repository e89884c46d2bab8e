"""Waits for a connection are told by every process that has a pool, and shown on the page."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings
from django.db import connection
from psycopg_pool import ConnectionPool

from performance.core import stores
from performance.queries import pools
from performance.queries.pools import PoolWatch, reported

PATIENCE_S = 30


@pytest.fixture
def pool(db):
    """One connection, so that the second who asks waits."""
    url = " ".join(
        f"{name}={connection.settings_dict[key]}"
        for name, key in (("host", "HOST"), ("port", "PORT"), ("user", "USER"), ("dbname", "NAME"))
        if connection.settings_dict[key]
    )
    with ConnectionPool(url, min_size=1, max_size=1, timeout=PATIENCE_S, open=True) as made:
        made.wait(PATIENCE_S)
        yield made


@pytest.fixture(autouse=True)
def nobody_told():
    stores.bus().delete(pools.KEY)
    yield
    stores.bus().delete(pools.KEY)


def until(holds):
    ends = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.01)


def wait_for_a_connection(pool):
    """Hold the only connection; return a thread that waits for it."""
    held = pool.getconn()
    other = threading.Thread(target=lambda: pool.putconn(pool.getconn()))
    other.start()
    until(lambda: pool.get_stats().get("requests_waiting") == 1)
    return held, other


def test_who_waits_now_and_for_how_long_others_did_is_read_off_the_pool(pool):
    watch = PoolWatch()
    watch.add("default", pool)
    held, other = wait_for_a_connection(pool)
    while_held = watch.readings()[0]
    pool.putconn(held)
    other.join(PATIENCE_S)
    until(lambda: pool.get_stats()["pool_available"] == 1)

    after = watch.readings()[0]
    assert (while_held["waiting"], while_held["in_use"], while_held["most"]) == (1, 1, 1)
    assert (after["waiting"], after["in_use"], after["asked"], after["waited"]) == (0, 0, 2, 1)
    assert after["mean_wait_ms"] == after["wait_ms"] >= 0
    assert after["refused"] == 0


def test_only_the_last_minute_counts(pool):
    now = [1_000.0]
    watch = PoolWatch(clock=lambda: now[0])
    watch.add("default", pool)
    with pool.connection():
        pass
    assert watch.readings()[0]["asked"] == 1

    now[0] += pools.WINDOW_S + 1
    assert watch.readings()[0]["asked"] == 0


def test_another_process_s_waits_are_on_the_page(pool, admin_client):
    """The page's own process has no pool at all: what it shows is what others told."""
    held, other = wait_for_a_connection(pool)
    teller = PoolWatch()
    teller.add("replica1", pool)
    assert teller.tell()
    pool.putconn(held)
    other.join(PATIENCE_S)

    html = admin_client.get("/admin/performance/queries/").content.decode()
    assert f'<th scope="row">{pools._said(settings.NODE_ID, settings.PROCESS)}</th>' in html
    assert '<td class="narrow-hide">replica1</td><td class="num">1 / 1</td>' in html
    assert 'data-bind="pool_waiting">1<' in html


def test_who_ended_is_forgotten_and_the_one_with_most_waiting_comes_first():
    told = {"pid": 1, "alias": "default", "wait_ms": 0}
    for node, waiting, seen in (("a", 0, 100.0), ("b", 4, 99.0), ("gone", 9, 80.0)):
        one = json.dumps({**told, "name": node, "waiting": waiting, "seen_unix_s": seen})
        stores.bus().hset(pools.KEY, node, one)

    assert [one["name"] for one in reported(now_unix_s=100.0)] == ["b", "a"]
    assert stores.bus().hkeys(pools.KEY) == [b"a", b"b"]


def test_a_process_with_a_pool_tells_by_itself(db):
    """A real process with DATABASE_POOL_SIZE: it asks once, and is heard of."""
    code = (
        "import django, time; django.setup();"
        "from django.db import connection;"
        "connection.cursor().execute('SELECT 1'); print('asked', flush=True); time.sleep(60)"
    )
    given = connection.settings_dict
    url = f"postgresql://{given['USER']}@/{given['NAME']}?host={given['HOST']}&port={given['PORT']}"
    env = {**os.environ, "DATABASE_POOL_SIZE": "3", "DATABASE_URL": url}
    env |= {"DJANGO_SETTINGS_MODULE": "protipp.settings", "REDIS_URL": settings.REDIS_URL}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "asked\n"  # however long its start takes
            until(lambda: [one["pid"] for one in reported()] == [process.pid])
            assert reported()[0]["most"] == 3
        finally:
            process.kill()
