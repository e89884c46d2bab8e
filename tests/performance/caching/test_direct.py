"""The connections of our own: never one's answer for another, never a wait without end."""

from __future__ import annotations

import os
import socket
import threading
from itertools import pairwise

import pytest
import redis

from performance.caching import direct, runtime
from performance.caching.direct import Lines
from performance.caching.services import cached
from performance.core import stores

pytestmark = pytest.mark.timed


@pytest.fixture
def client():
    found = stores.cache_store()
    found.mset({f"k{number}": f"v{number}" for number in range(50)})
    return found


@pytest.fixture
def lines():
    found = Lines()
    yield found
    found.close()


def mget(lines, client, keys):
    (values,) = lines.ask(client, ("MGET", *keys))
    return values


def test_values_come_in_order_and_what_is_not_there_is_none(client, lines):
    assert mget(lines, client, ["k2", "nothing", "k1"]) == [b"v2", None, b"v1"]


def test_a_socket_that_the_server_closed_is_replaced(client, lines):
    (own_id,) = lines.ask(client, ("CLIENT", "ID"))
    client.client_kill_filter(_id=own_id)

    assert mget(lines, client, ["k1"]) == [b"v1"]


def test_after_a_wait_that_was_too_long_no_answer_is_taken_for_another(impatient, client, lines):
    mget(lines, client, ["k1"])
    with pytest.raises(redis.TimeoutError, match=r"0\.05 s"):
        lines.ask(client, ("BLPOP", "empty", 0))  # answered when somebody fills it
    client.rpush("empty", "late")

    assert mget(lines, client, ["k2"]) == [b"v2"]
    assert client.lrange("empty", 0, -1) == [b"late"], "nobody waits for it any more"


class Script:
    """A server of one connection after another, which says what it is told, piece by piece."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listening.getsockname()[1]}/0"
        self.pieces: list[bytes] = []
        self.go = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                connection.recv(65_536)
                for piece in self.pieces:
                    connection.sendall(piece)
                    self.go.acquire(timeout=60)

    def end(self):
        self.go.release(100)
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()


@pytest.fixture
def scripted():
    made = Script()
    yield made
    made.end()


def ask_scripted(scripted, lines, limit_s, *commands):
    options = {"protocol": 2, "driver_info": None, "socket_timeout": limit_s}
    return lines.ask(redis.Redis.from_url(scripted.url, **options), *commands)


def test_an_answer_in_pieces_is_put_together(scripted, lines):
    big = os.urandom(200_000)
    whole = b"*3\r\n$200000\r\n" + big + b"\r\n$-1\r\n:7\r\n"
    cuts = [0, 8, 70_000, 200_015, len(whole)]
    scripted.pieces = [whole[begin:end] for begin, end in pairwise(cuts)]
    scripted.go.release(4)

    assert ask_scripted(scripted, lines, 60, ("MGET", "a")) == [[big, None, 7]]


def test_half_an_answer_is_not_waited_for_beyond_the_limit(scripted, lines):
    scripted.pieces = [b"$10\r\nhalf", b"unsaid"]

    with pytest.raises(redis.TimeoutError):
        ask_scripted(scripted, lines, 0.05, ("GET", "a"))
    assert not lines._free


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"-LOADING it is starting\r\n", redis.ConnectionError),
        (b"-OOM no room\r\n", redis.ResponseError),
        (b"$x\r\n", redis.InvalidResponse),
        (b"!what\r\n", redis.InvalidResponse),
        (b"+OK\r\n+OK\r\n", redis.InvalidResponse),
        (b"", redis.ConnectionError),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_client(scripted, lines, said, error):
    scripted.pieces = [said] if said else []
    scripted.go.release(10)

    with pytest.raises(error):
        ask_scripted(scripted, lines, 60, ("GET", "a"))


def test_commands_sent_at_once_are_answered_in_order(client, lines):
    said = lines.ask(client, ("SET", "n", 1), ("INCR", "n"), ("GET", "n"), ("GET", "nothing"))

    assert said == [b"OK", 2, b"2", None]


def test_an_error_of_the_server_is_told_and_the_next_read_is_well(client, lines):
    client.execute_command("ACL", "SETUSER", "default", "-mget")
    try:
        with pytest.raises(redis.ResponseError):
            mget(lines, client, ["k1"])
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+mget")

    assert mget(lines, client, ["k1"]) == [b"v1"]


def test_many_threads_share_them_and_few_stay_open(client, lines, monkeypatch):
    monkeypatch.setattr(direct, "IDLE_AT_MOST", 3)
    wrong = []

    def read(number):
        for _ in range(40):
            if mget(lines, client, [f"k{number}"]) != [f"v{number}".encode()]:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(lines._free) <= 3 + 8  # a check and an append are two steps


def test_a_forked_process_reads_by_connections_of_its_own():
    @cached("forked", memory_s=0)
    def forked(key: str) -> str:
        return key

    forked("a")
    forked("a")
    lines = runtime.current().store._lines
    assert len(lines._free) == 1
    child = os.fork()
    if child == 0:
        mine = runtime.current().store._lines
        same = forked("a") == "a" and mine is not lines
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert forked("a") == "a"
    assert len(lines._free) == 1
