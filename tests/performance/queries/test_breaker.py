"""A database that is away costs one thread a second, and nobody else a wait."""

import statistics
import threading
import time

import pytest
from psycopg_pool import ConnectionPool, PoolTimeout

from performance.queries.postgresql.breaker import Breaker, PostgresAway

pytestmark = pytest.mark.timed


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def dead(tmp_path):
    """A pool whose server is not there."""
    pool = ConnectionPool(
        f"host={tmp_path}", min_size=1, timeout=0.3, reconnect_timeout=1, open=True
    )
    yield pool
    pool.close()


def ask(breaker, pool):
    """Return the error's class, and the seconds until it came."""
    began = time.monotonic()
    with pytest.raises((PoolTimeout, PostgresAway)) as caught:
        breaker.connect(pool, pool.getconn)
    return caught.type, time.monotonic() - began


def test_after_the_first_nobody_waits(dead, clock):
    breaker = Breaker(clock)
    assert ask(breaker, dead)[0] is PoolTimeout

    kinds, times_s = zip(*(ask(breaker, dead) for _ in range(20)), strict=True)
    assert set(kinds) == {PostgresAway}
    assert statistics.median(times_s) < 0.05  # the pool's own wait is 0.3 s


def test_each_second_one_thread_asks_again(dead, clock):
    breaker = Breaker(clock)
    ask(breaker, dead)
    clock.now += 1.1
    kinds = []
    threads = [
        threading.Thread(target=lambda: kinds.append(ask(breaker, dead)[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(kind.__name__ for kind in kinds) == ["PoolTimeout", *["PostgresAway"] * 3]


def test_a_server_that_is_back_is_used_at_once(dead, clock):
    breaker = Breaker(clock)
    ask(breaker, dead)

    class Back:
        def get_stats(self):
            return {"pool_available": 1}

    assert breaker.connect(Back(), lambda: "connection") == "connection"
    assert breaker.connect(Back(), lambda: "again") == "again"


def test_a_pool_that_is_only_busy_is_asked_each_time(clock, settings):
    database = settings.DATABASES["default"]
    kwargs = {"dbname": database["NAME"], "user": database["USER"], "host": database["HOST"]}
    kwargs |= {"password": database["PASSWORD"], "port": database["PORT"]}
    kwargs = {name: value for name, value in kwargs.items() if value}
    with ConnectionPool(kwargs=kwargs, min_size=1, max_size=1, timeout=0.2, open=True) as pool:
        pool.wait(30)
        breaker = Breaker(clock)
        held = breaker.connect(pool, lambda: pool.getconn(timeout=30))
        assert ask(breaker, pool)[0] is PoolTimeout
        assert ask(breaker, pool)[0] is PoolTimeout
        pool.putconn(held)
