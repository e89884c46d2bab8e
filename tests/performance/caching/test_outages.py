"""Valkey killed, paused and restarted while four threads read and one writes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from performance.caching import runtime as runtimes
from performance.caching.services import cache, cached
from performance.core import stores
from tests.performance.caching.topologies import VALKEY, Single

pytestmark = pytest.mark.timed

KEYS = [str(number) for number in range(12)]
CACHES_OWN_S = 0.1
"""What a read may wait for the cache itself."""


class Load:
    """Threads that read all the time; `written` is the least that a read may give."""

    def __init__(self, value):
        self.value = value
        self.times_s: list[float] = []
        self.errors: list[BaseException] = []
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(4)]

    def _read(self, number):
        turn = number
        while not self.over.is_set():
            turn += 1
            began = time.thread_time(), time.monotonic()
            try:
                self.value(KEYS[turn % len(KEYS)])
            except BaseException as error:  # noqa: BLE001 - any failed read is what is looked for
                self.errors.append(error)
            waited_s = (time.monotonic() - began[1]) - (time.thread_time() - began[0])
            self.times_s.append(waited_s)
            time.sleep(0.002)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        for thread in self._threads:
            thread.join()

    def slow_share(self) -> float:
        """The share of reads that waited longer than the cache may make them."""
        return sum(time_s > CACHES_OWN_S for time_s in self.times_s) / len(self.times_s)


@pytest.fixture
def server(settings, tmp_path):
    made = Single(tmp_path, VALKEY)
    settings.CACHE_URL = made.url
    stores.forget()
    yield made.server
    os.kill(made.server.process.pid, signal.SIGCONT)
    made.end()
    stores.forget()


def _kill(server, during):
    server.end()
    during()
    server.start()


def _pause(server, during):
    os.kill(server.process.pid, signal.SIGSTOP)
    during()
    os.kill(server.process.pid, signal.SIGCONT)


def _restart(server, during):
    server.end()
    server.start()
    during()


@pytest.mark.parametrize("fault", [_kill, _pause, _restart], ids=["killed", "paused", "restarted"])
def test_under_load_no_read_fails_or_waits_and_nothing_old_is_served_afterwards(
    server, fault, eventually
):
    origin = {"value": 0}

    @cached("value", ttl_s=60, memory_s=0.5, tags=lambda key: [f"tag:{key}"])
    def value(key: str) -> int:
        return origin["value"]

    runtime = runtimes.current()
    eventually(lambda: runtime.hearing, within_s=5)

    def write_meanwhile():
        time.sleep(0.5)
        origin["value"] = 1
        cache.invalidate(*(f"tag:{key}" for key in KEYS))
        time.sleep(0.3)

    with Load(value) as load:
        time.sleep(0.2)
        fault(server, write_meanwhile)

        def healed():
            return not runtime.store.breaker.is_open and runtime.hearing and not runtime._unsent

        # 2 s is the promise; the rest is for a machine that does other things meanwhile.
        eventually(healed, within_s=6)
        assert [value(key) for key in KEYS] == [1] * len(KEYS)
        value.memory.clear()
        assert [value(key) for key in KEYS] == [1] * len(KEYS)
        eventually(lambda: value.find("1").source in ("l1", "l2"))

    assert load.errors == []
    assert len(load.times_s) > 200
    assert load.slow_share() < 0.02
