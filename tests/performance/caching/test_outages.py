"""Valkey killed, paused and restarted while four threads read and one writes."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import redis

from performance.caching import computing, direct
from performance.caching import runtime as runtimes
from performance.caching.services import StoreAway, cache, cached
from performance.core import stores
from tests.performance.caching.topologies import VALKEY, Single

KEYS = [str(number) for number in range(12)]
TAGS = [f"tag:{key}" for key in KEYS]
CACHES_OWN_S = 0.1
"""What a read may wait for the cache itself."""
RECOVERS_WITHIN_S = 2.0
ROUNDS = 3
"""A machine that does other things meanwhile may make one recovery late, and not each of them."""


@pytest.fixture
def waits(monkeypatch):
    """What the cache itself lets each thread wait, as it asks the kernel for it.

    A call that ran into its time limit counts as that limit, a nap as its length. So what a busy
    machine takes from a thread besides is not blamed on the cache.
    """
    waits = threading.local()
    connect, ask = direct.Line.__init__, direct.Line.ask

    def counted(call, line, *arguments):
        try:
            return call(line, *arguments)
        except redis.TimeoutError:
            waits.asked_s = getattr(waits, "asked_s", 0.0) + stores.CACHE_TIMEOUT_S
            raise

    def nap(seconds):
        waits.asked_s = getattr(waits, "asked_s", 0.0) + seconds
        time.sleep(seconds)

    monkeypatch.setattr(direct.Line, "__init__", lambda line, *more: counted(connect, line, *more))
    monkeypatch.setattr(direct.Line, "ask", lambda line, *more: counted(ask, line, *more))
    naps = SimpleNamespace(sleep=nap, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(computing, "time", naps)
    return waits


class Load:
    """Threads that read all the time; `least` is what a read that begins now may give."""

    def __init__(self, value, waits):
        self.value = value
        self.waits = waits
        self.least = 0
        self.waited_s: list[float] = []
        self.errors: list[BaseException] = []
        self.stale: list[tuple[int, int]] = []
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(4)]

    def _read(self, number):
        turn = number
        while not self.over.is_set():
            turn += 1
            self.waits.asked_s = 0.0
            least = self.least
            try:
                got = self.value(KEYS[turn % len(KEYS)])
            except BaseException as error:  # noqa: BLE001 - any failed read is what is looked for
                self.errors.append(error)
                return
            if got < least:
                self.stale.append((got, least))
            self.waited_s.append(self.waits.asked_s)
            time.sleep(0.002)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def server(settings, tmp_path, impatient):
    made = Single(tmp_path, VALKEY)
    settings.CACHE_URL = made.url
    stores.forget()
    yield made.server
    os.kill(made.server.process.pid, signal.SIGCONT)
    made.end()
    stores.forget()


def _kill(server, during):
    server.end()
    during(away=True)
    server.start()


def _pause(server, during):
    os.kill(server.process.pid, signal.SIGSTOP)
    during(away=True)
    os.kill(server.process.pid, signal.SIGCONT)


def _restart(server, during):
    server.end()
    server.start()
    during(away=False)


@pytest.mark.parametrize("fault", [_kill, _pause, _restart], ids=["killed", "paused", "restarted"])
def test_under_load_no_read_fails_waits_or_is_stale_and_it_recovers_soon(
    server, fault, waits, eventually
):
    origin = {"value": 0}

    @cached("value", ttl_s=60, memory_s=0.2, tags=lambda key: [f"tag:{key}"])
    def value(key: str) -> int:
        return origin["value"]

    runtime = runtimes.current()
    eventually(lambda: runtime.hearing)

    def write(away):
        """Change what is read, in the midst of it, and go on until many have read it."""
        if away:
            eventually(lambda: runtime.store.breaker.is_open)
        origin["value"] += 1
        told = cache.invalidate(*TAGS)
        load.least = origin["value"]
        assert not (told and away)
        enough = len(load.waited_s) + 100
        eventually(lambda: len(load.waited_s) > enough or load.errors)

    def healed():
        return not runtime.store.breaker.is_open and runtime.hearing and not runtime._unsent

    recovered_s = []
    with Load(value, waits) as load:
        while len(recovered_s) < ROUNDS and min(recovered_s, default=9) > RECOVERS_WITHIN_S:
            eventually(lambda: len(load.waited_s) > 50 or load.errors)
            fault(server, write)
            recovered_s.append(eventually(healed))
        value.memory.clear()
        assert [value(key) for key in KEYS] == [origin["value"]] * len(KEYS)
        eventually(lambda: value.find("1").source in ("l1", "l2"))

    assert load.errors == []
    assert load.stale == []
    assert max(load.waited_s) <= CACHES_OWN_S
    assert min(recovered_s) <= RECOVERS_WITHIN_S


def test_a_store_that_does_not_answer_is_given_up_after_50_ms(server, eventually):
    store = runtimes.current().store
    assert store.read(["nothing"]) == [None]
    os.kill(server.process.pid, signal.SIGSTOP)

    def given_up_in_time():
        began = time.monotonic()
        with pytest.raises(StoreAway):
            store.read(["nothing"])
        return stores.CACHE_TIMEOUT_S <= time.monotonic() - began < CACHES_OWN_S

    eventually(given_up_in_time)


def test_a_lease_that_nobody_holds_any_more_is_given_back(
    server, settings, monkeypatch, eventually
):
    """The store gets to a claim that was given up long ago: others would wait for nobody."""
    settings.PERFORMANCE = {"CACHING": {"lease_s": 600}}
    runtime, calls = runtimes.current(), []
    claim = runtime.store.claim

    @cached("value", ttl_s=60, memory_s=0)
    def value(key: str) -> int:
        calls.append(key)
        return len(calls)

    def claim_of_a_paused_store(*arguments):
        os.kill(server.process.pid, signal.SIGSTOP)
        return claim(*arguments)

    eventually(lambda: runtime.hearing)
    monkeypatch.setattr(runtime.store, "claim", claim_of_a_paused_store)
    assert value("a") == 1
    assert runtime._left_behind
    monkeypatch.setattr(runtime.store, "claim", claim)
    os.kill(server.process.pid, signal.SIGCONT)

    def given_back():
        return not runtime._left_behind and not server.ask("KEYS", "*:lease:*")

    eventually(given_back)
    assert value("a") == 2
    assert value.find("a").source == "l2"
