"""The reading connections of our own: never one's answer for another, never a wait without end."""

from __future__ import annotations

import os
import threading

import pytest
import redis
from django.conf import settings

from performance.caching import direct, runtime
from performance.caching.direct import Reader
from performance.caching.services import cached
from performance.core import stores

pytestmark = pytest.mark.timed


@pytest.fixture
def client():
    found = stores.cache_store()
    found.mset({f"k{number}": f"v{number}" for number in range(50)})
    return found


@pytest.fixture
def reader():
    found = Reader()
    yield found
    found.close()


def test_values_come_in_order_and_what_is_not_there_is_none(client, reader):
    assert reader.mget(client, ["k2", "nothing", "k1"]) == [b"v2", None, b"v1"]


def test_a_socket_that_the_server_closed_is_replaced(client, reader):
    reader.mget(client, ["k1"])
    (connection,) = reader._free
    connection.send_command("CLIENT", "ID")
    client.client_kill_filter(_id=connection.read_response())

    assert reader.mget(client, ["k1"]) == [b"v1"]


def test_after_a_wait_that_was_too_long_no_answer_is_taken_for_another(client, reader):
    reader.mget(client, ["k1"])
    client.execute_command("CLIENT", "PAUSE", 200, "ALL")
    with pytest.raises(redis.TimeoutError):
        reader.mget(client, ["k1"])
    patient = redis.Redis.from_url(settings.CACHE_URL, protocol=2, socket_timeout=5)
    patient.ping()  # the pause is over, and the late answer was given to nobody
    patient.close()

    assert reader.mget(client, ["k2"]) == [b"v2"]


def test_an_error_of_the_server_is_told_and_the_next_read_is_well(client, reader):
    client.execute_command("ACL", "SETUSER", "default", "-mget")
    try:
        with pytest.raises(redis.ResponseError):
            reader.mget(client, ["k1"])
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+mget")

    assert reader.mget(client, ["k1"]) == [b"v1"]


def test_many_threads_share_them_and_few_stay_open(client, reader, monkeypatch):
    monkeypatch.setattr(direct, "IDLE_AT_MOST", 3)
    wrong = []

    def read(number):
        for _ in range(40):
            if reader.mget(client, [f"k{number}"]) != [f"v{number}".encode()]:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(reader._free) <= 3 + 8  # a check and an append are two steps


def test_a_forked_process_reads_by_connections_of_its_own():
    @cached("forked", memory_s=0)
    def forked(key: str) -> str:
        return key

    forked("a")
    forked("a")
    reader = runtime.current().store._reader
    assert len(reader._free) == 1
    child = os.fork()
    if child == 0:
        mine = runtime.current().store._reader
        same = forked("a") == "a" and mine is not reader
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert forked("a") == "a"
    assert len(reader._free) == 1
