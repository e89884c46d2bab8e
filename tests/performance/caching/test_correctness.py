"""What must hold with a real server, other threads, other processes, and servers that go away."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import zstandard
from django.db import transaction

from performance.caching import runtime as runtimes
from performance.caching.envelope import FORMAT, Envelope, Unreadable, unseal
from performance.caching.services import cache, cached
from performance.core import stores


def make_value(**options):
    origin = {"value": 0, "calls": 0, "gate": None, "slow_s": 0.0}

    @cached("value", **{"ttl_s": 60, "tags": lambda key: [f"tag:{key}"]} | options)
    def value(key: str) -> int:
        origin["calls"] += 1
        read = origin["value"]
        if origin["gate"] is not None:
            origin["gate"].wait(60)
        time.sleep(origin["slow_s"])
        return read

    return value, origin


def test_a_slow_reader_cannot_bring_an_old_value_back(hearing, settings):
    settings.PERFORMANCE = {"CACHING": {"lease_wait_s": 60}}
    value, origin = make_value()
    origin["gate"] = gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(value, "a")
        while not origin["calls"]:
            time.sleep(0.001)
        origin["value"] = 1
        origin["gate"] = None
        cache.invalidate("tag:a")
        started = time.monotonic()
        assert value("a") == 1
        assert time.monotonic() - started < 30, "nobody waits for who has read old data"
        gate.set()
        assert slow.result() == 0

    assert value("a") == 1
    value.memory.clear()
    assert value("a") == 1


@pytest.fixture
def slow_to_give_up(settings):
    """Who waits for a computation waits for it, though the machine does other things meanwhile."""
    settings.PERFORMANCE = {"CACHING": {"lease_wait_s": 60, "lease_s": 60}}


def test_a_cold_key_is_computed_once_by_threads(hearing, slow_to_give_up):
    value, origin = make_value()
    origin["slow_s"] = 0.1
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(value, ["a"] * 20)) == {0}

    assert origin["calls"] == 1


def herd(barrier, calls):
    stores.forget()
    value, origin = make_value()
    origin["slow_s"] = 0.2
    barrier.wait()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(value, ["herd"] * 10))
    with calls.get_lock():
        calls.value += origin["calls"]
    os._exit(0)


def test_a_cold_key_is_computed_once_by_processes(slow_to_give_up):
    fork = multiprocessing.get_context("fork")
    calls, barrier = fork.Value("i", 0), fork.Barrier(4)
    processes = [fork.Process(target=herd, args=(barrier, calls)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 4
    assert calls.value == 1


CHANGES = 8


def follow(pipe, origin):
    """A process that reads one value from its memory, and says when each change of it is seen."""
    stores.forget()

    @cached("followed", ttl_s=60, memory_s=30, tags=lambda key: [f"tag:{key}"])
    def followed(key: str) -> int:
        return origin.value

    for number in range(1, CHANGES + 1):
        while not runtimes.current().hearing or followed.find("push").source != "l1":
            time.sleep(0.005)
        pipe.send("ready")
        while followed("push") < number:
            time.sleep(0.0005)
        pipe.send(time.monotonic())
    os._exit(0)


def test_a_change_reaches_another_process_memory_within_100_ms():
    """The best of several: a machine that does other things may make one late, and not all."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    origin = fork.Value("i", 0)
    process = fork.Process(target=follow, args=(there, origin))
    process.start()
    took_s = []
    for number in range(1, CHANGES + 1):
        assert here.poll(60)
        here.recv()
        origin.value = number
        changed_at = time.monotonic()
        assert cache.invalidate("tag:push")
        assert here.poll(60)
        took_s.append(here.recv() - changed_at)
    process.join(60)

    assert min(took_s) < 0.1, "and not only after the 30 s for which memory may answer"


@pytest.mark.django_db(transaction=True)
def test_an_invalidation_waits_for_commit_and_goes_with_its_rollback():
    value, origin = make_value()
    value("a")
    with transaction.atomic():
        origin["value"] = 1
        cache.invalidate("tag:a")
        assert value("a") == 1, "the writer reads its own write"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(value, "a").result() == 0, "others do not, before COMMIT"
    assert value("a") == 1

    with transaction.atomic():
        cache.invalidate("tag:a")
        origin["value"] = 2
        transaction.set_rollback(True)
    assert value("a") == 1, "rolled back: still the stored value"


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_takes_its_invalidations_with_it():
    value, origin = make_value()
    value("a")
    value("b")
    origin["value"] = 1
    with transaction.atomic():
        try:
            with transaction.atomic():
                cache.invalidate("tag:a")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        with transaction.atomic():
            cache.invalidate("tag:b")

    assert value("a") == 0
    assert value("b") == 1


@pytest.mark.django_db(transaction=True)
def test_what_a_transaction_computed_is_kept_by_nobody():
    value, _ = make_value()
    with transaction.atomic():
        value("a")

    assert value.peek("a").state == "miss"


def test_an_evicted_generation_is_a_miss(hearing):
    value, origin = make_value(memory_s=0)
    value("a")
    origin["value"] = 1
    stores.cache_store().delete(runtimes.current().generation_key("tag:a"))

    assert value("a") == 1


@pytest.mark.parametrize("seed", range(20))
def test_hostile_bytes_are_a_miss_and_never_an_error(seed):
    value, origin = make_value(memory_s=0)
    value("a")
    client = stores.cache_store()
    (key,) = [key for key in client.keys("*:v:value:*") if b":lease" not in key]
    stored = bytearray(client.get(key))
    dice = random.Random(seed)
    for _ in range(1 + seed % 3):
        stored[dice.randrange(len(stored))] ^= 1 << dice.randrange(8)
    client.set(key, [bytes(stored), dice.randbytes(300), b"", b"\x80\x05pickle"][seed % 4])
    origin["value"] = 1

    assert value("a") == 1
    assert value.counts.unreadable >= 1


def test_a_compressed_bomb_is_refused_by_its_size():
    bomb = zstandard.compress(b"\0" * 50_000_000)
    body = msgspec.msgpack.encode(Envelope("s", 0.0, 0.0, 0.0, 0.0, (), True, bomb))
    with pytest.raises(Unreadable, match="size"):
        unseal(FORMAT + zlib.crc32(body).to_bytes(4, "big") + body, schema="s", max_bytes=1_000_000)


def test_a_lost_push_empties_memory_and_turns_it_off(hearing, eventually):
    value, _ = make_value(memory_s=30)
    eventually(lambda: value.find("a").source == "l1")
    before = hearing._follower.losses
    stores.cache_store().client_kill_filter(_type="pubsub")

    eventually(lambda: hearing._follower.losses > before)
    assert value.find("a").source == "l2", "what was in memory went with the push"
    eventually(lambda: hearing.hearing and value.find("a").source == "l1")


def test_readers_never_see_an_old_value_after_the_writer_said_so(hearing):
    value, origin = make_value(memory_s=30)
    wrong = []
    done = threading.Event()

    def read():
        while not done.is_set():
            least = origin["value_said"]
            if value("race") < least:
                wrong.append(least)
            time.sleep(0)  # the writer is to have its turn

    origin["value_said"] = 0
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 150):
        origin["value"] = number
        assert cache.invalidate("tag:race")
        origin["value_said"] = number
        time.sleep(random.random() * 0.002)
    done.set()
    for reader in readers:
        reader.join()

    assert wrong == []
