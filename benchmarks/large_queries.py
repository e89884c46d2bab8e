"""Our readers at a million prices and twenty million changes: time in the server, node CPU, ingest.

`PROTIPP_BENCH_PRICES` makes it smaller. Filling takes ten to twenty minutes and 4 GB of disk.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from django.db import connection

CALLS = 300
INGEST_S = 60
CHANGES_A_S = 2_000
INDEXES = {
    "event_of_sport": "CREATE INDEX event_of_sport ON odds_event (sport_id, commence_time)",
    "event_by_time": "CREATE INDEX event_by_time ON odds_event (commence_time, key)",
}


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from benchmarks import large_market

    wanted = int(os.environ.get("PROTIPP_BENCH_PRICES", 1_000_000))
    started = time.monotonic()
    prices, changes = large_market.fill(prices=wanted)
    report.say(
        f"{prices} prices, {changes} changes, made in {time.monotonic() - started:.0f} s. "
        "Wall time p50 and p99 of a call over a local socket, then the CPU of both sides at p50."
    )
    readers = _readers()
    for name, read in readers.items():
        report.say(f"- {name}: {_measure(read)}")
    _without_indexes(report, readers)
    _pool(report)
    _under_ingest(report, readers["board of a sport"])


def _readers() -> dict[str, Callable[[], object]]:
    from odds import answers, boards, history, opportunities

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.key, e.sport_id FROM odds_event e "
            "WHERE e.commence_time > now() AND e.sport_id LIKE 'soccer_epl%%' ORDER BY e.id LIMIT 1"
        )
        key, sport = cursor.fetchone()
    times_s = boards.event(key).events[0].recorded_s
    return {
        "board of a sport": lambda: boards.board(sport, market="h2h", total=1),
        "event": lambda: boards.event(key),
        "history of an event": lambda: history.history(key, times_s),
        "arbitrage": opportunities.opportunities,
        "sports": boards.sports,
        "API odds of a sport": lambda: answers.odds(sport),
        "API event": lambda: answers.event_odds(key),
        "API upcoming": lambda: answers.odds(answers.UPCOMING),
    }


def _measure(read: Callable[[], object], calls: int = CALLS) -> str:
    for _ in range(8):  # prepared from the sixth on
        read()
    wall_ms, node_ms, server_ms = [], [], []
    for _ in range(calls):
        server, node, wall = _server_cpu_ns(), time.thread_time(), time.perf_counter()
        read()
        wall_ms.append((time.perf_counter() - wall) * 1e3)
        node_ms.append((time.thread_time() - node) * 1e3)
        server_ms.append((_server_cpu_ns() - server) / 1e6)
    return (
        f"{_p(wall_ms, 50):.2f} and {_p(wall_ms, 99):.2f} ms; CPU {_p(server_ms, 50):.2f} ms in "
        f"the server, {_p(node_ms, 50):.2f} ms in the node"
    )


def _p(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def _server_cpu_ns() -> int:
    """CPU time of our backend, by Linux's scheduler; 0 where it is on another machine."""
    try:
        with open(f"/proc/{connection.connection.info.backend_pid}/schedstat") as stat:  # noqa: PTH123
            return int(stat.read().split()[0])
    except OSError:
        return 0


def _without_indexes(report: Report, readers: dict[str, Callable[[], object]]) -> None:
    """Each index taken away and put back, around the reader that wants it."""
    for index, reader in (
        ("event_of_sport", "board of a sport"),
        ("event_by_time", "API upcoming"),
    ):
        with _dropped(index):
            without = _measure(readers[reader], calls=100)
        report.say(f"- {reader} without {index}: {without}")
        report.say(f"- {reader} with it: {_measure(readers[reader], calls=100)}")


@contextmanager
def _dropped(index: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {index}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(INDEXES[index])
            cursor.execute("ANALYZE odds_event")


def _pool(report: Report) -> None:
    """`SELECT 1` by a new connection each time, by one that stays, and out of psycopg's pool."""
    import psycopg
    from psycopg_pool import ConnectionPool

    url = os.environ["DATABASE_URL"]

    def new() -> None:
        with psycopg.connect(url) as link:
            link.execute("SELECT 1")

    def cpu_us(act: Callable[[], Any], calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            act()
        return (time.perf_counter() - started) / calls * 1e6

    with psycopg.connect(url, autocommit=True) as link, ConnectionPool(url, min_size=1) as pool:

        def pooled() -> None:
            with pool.connection() as one:
                one.execute("SELECT 1")

        times = {
            "a new connection": cpu_us(new, 100),
            "persistent": cpu_us(lambda: link.execute("SELECT 1"), 2_000),
            "the pool": cpu_us(pooled, 2_000),
        }
    best = times["persistent"]
    for name, us in times.items():
        report.say(f"- SELECT 1 by {name}: {us:.0f} us ({us / best:.1f}x)")


def _under_ingest(report: Report, read: Callable[[], object]) -> None:
    """Read the board while 2,000 changes a second come in for a minute."""
    from odds.services import run_feed, source

    def feed() -> Any:
        return source(
            "simulate", seed=99, events=2_000, bookmakers=12, changes_per_s=CHANGES_A_S, speed=1.0
        )

    stop = threading.Event()
    run_feed(feed(), stop=stop, batches=1)  # the market as it stands; from now on it moves
    totals: list[Any] = []
    thread = threading.Thread(target=lambda: totals.append(run_feed(feed(), stop=stop)))
    thread.start()
    times_ms = []
    ends = time.monotonic() + INGEST_S
    while time.monotonic() < ends:
        started = time.perf_counter()
        read()
        times_ms.append((time.perf_counter() - started) * 1e3)
        time.sleep(0.02)
    stop.set()
    thread.join(30)
    report.say(
        f"- the board while {CHANGES_A_S} changes a second come in for {INGEST_S} s: "
        f"{_p(times_ms, 50):.2f} and {_p(times_ms, 99):.2f} ms over {len(times_ms)} reads; fed: "
        f"{totals[0] if totals else 'the feed did not end in time'}"
    )
