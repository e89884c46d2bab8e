"""Our readers at a million prices and twenty million changes: time in the server, node CPU, ingest.

`PROTIPP_BENCH_PRICES` and `PROTIPP_BENCH_DAYS` make it smaller, `PROTIPP_BENCH_INGEST_S` shorter.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from django.db import connection

CALLS = 300
CHANGES_A_S = 2_000
WANTED_P50_MS, WANTED_P99_MS, WANTED_NODE_MS = 1.0, 10.0, 1.5
INDEXES = {
    "event_of_sport": "CREATE INDEX event_of_sport ON odds_event (sport_id, commence_time)",
    "event_by_time": "CREATE INDEX event_by_time ON odds_event (commence_time, key)",
}


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from benchmarks import large_market

    prices = int(os.environ.get("PROTIPP_BENCH_PRICES", 1_000_000))
    days = int(os.environ.get("PROTIPP_BENCH_DAYS", large_market.DAYS))
    started = time.monotonic()
    stored, changes = large_market.fill(prices=prices, days=days)
    took_s = time.monotonic() - started
    report.say(f"{stored} prices, {changes} changes, made in {took_s:.0f} s.")
    report.say()
    readers = _readers()
    head = "| reader | p50 | p99 | server CPU p50 | node CPU p50 |\n|---|--:|--:|--:|--:|"
    report.say("Nothing held, ms of a call over a local socket (each of another event or sport):")
    report.say()
    report.say(head)
    for name, read in readers.items():
        report.say(f"| {name} | {_row(_measure(read, calls=60, forget=True))} |")
    report.say()
    _without_indexes(report, readers)
    _pool(report)
    report.say()
    _under_ingest(report, readers, head)


def _readers() -> dict[str, Callable[[], object]]:
    """Each reads another event or sport at each call, in turn, of some that are often asked for."""
    from odds import answers, boards, history, opportunities

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sport_id FROM odds_event WHERE commence_time > now() GROUP BY 1 "
            "ORDER BY count(*) DESC LIMIT 8"
        )
        sports = itertools.cycle([row[0] for row in cursor.fetchall()])
        cursor.execute(
            "SELECT key FROM odds_event WHERE commence_time > now() ORDER BY commence_time, key "
            "LIMIT 40"
        )
        keys = itertools.cycle([row[0] for row in cursor.fetchall()])

    settled_s = history.settled_until_s()
    since_s = settled_s - 30 * history.DAY_S

    return {
        "board of a sport": lambda: boards.board(next(sports), market="h2h", total=1),
        "board, 6th page": lambda: boards.board(next(sports), market="h2h", page=6, total=1),
        "its total": lambda: boards.board_total(next(sports), "h2h"),
        "event": lambda: boards.event(next(keys)),
        "an event's moves today": lambda: history.moves(next(keys), settled_s),
        "its moves before, once a day": lambda: history.moves(next(keys), since_s, settled_s),
        "arbitrage": opportunities.opportunities,
        "sports": boards.sports,
        "API odds of a sport": lambda: answers.odds(next(sports)),
        "API odds, limit 50": lambda: answers.odds(next(sports), limit=50),
        "API event": lambda: answers.event_odds(next(keys)),
        "API upcoming": lambda: answers.odds(answers.UPCOMING),
    }


class _Times:
    def __init__(self) -> None:
        self.statement_ms: list[float] = []
        self.server_ms: list[float] = []
        self.node_ms: list[float] = []
        self.statements = 0

    def note(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Django's wrapper of `execute`: from the question to the last byte of the answer."""
        began = time.perf_counter()
        found = execute(sql, params, many, context)
        self.statement_ms.append((time.perf_counter() - began) * 1e3)
        return found

    def take(self, read: Callable[[], object]) -> None:
        server, node = server_cpu_s(), time.thread_time()
        with connection.execute_wrapper(self.note):
            read()
        self.node_ms.append((time.thread_time() - node) * 1e3)
        self.server_ms.append((server_cpu_s() - server) * 1e3)


def _measure(read: Callable[[], object], *, calls: int = CALLS, forget: bool = False) -> _Times:
    for _ in range(8):  # prepared from the sixth on
        read()
    times = _Times()
    for _ in range(calls):
        if forget:
            _forget()
        times.take(read)
    return times


def _forget() -> None:
    from odds import answers, compared

    compared.held.clear()
    answers.held.clear()


def _row(times: _Times) -> str:
    return (
        f"{_p(times.statement_ms, 50):.2f} | {_p(times.statement_ms, 99):.2f} | "
        f"{_p(times.server_ms, 50):.2f} | {_p(times.node_ms, 50):.2f}"
    )


def _p(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def server_cpu_s() -> float:
    """CPU time of our backend, by Linux's scheduler; 0 where it is on another machine."""
    try:
        with open(f"/proc/{connection.connection.info.backend_pid}/schedstat") as stat:  # noqa: PTH123
            return int(stat.read().split()[0]) / 1e9
    except OSError:
        return 0.0


def _without_indexes(report: Report, readers: dict[str, Callable[[], object]]) -> None:
    """Each index taken away and put back, around the reader that wants it."""
    for index, reader in (
        ("event_of_sport", "board of a sport"),
        ("event_by_time", "API upcoming"),
    ):
        with _dropped(index):
            without = _measure(readers[reader], calls=60)
        beside = _measure(readers[reader], calls=60)
        report.say(
            f"- {reader}: {_p(without.statement_ms, 50):.2f} ms without {index}, "
            f"{_p(beside.statement_ms, 50):.2f} ms with it"
        )


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


def _under_ingest(report: Report, readers: dict[str, Callable[[], object]], head: str) -> None:
    """Ask each reader in turn while 2,000 changes a second come in from a process of its own."""
    seconds = float(os.environ.get("PROTIPP_BENCH_INGEST_S", 60))
    times = {name: _Times() for name in readers}
    command = [sys.executable, "-m", "benchmarks.large_feed", str(seconds), str(CHANGES_A_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feed:
        assert feed.stdout is not None
        feed.stdout.readline()  # from here on prices move
        ends, rounds = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            rounds += 1
            for name, read in readers.items():
                times[name].take(read)
                time.sleep(0.005)
        fed = json.loads(feed.stdout.readline())
    report.say(
        f"While {fed['changes_a_s']:.0f} changes a second come in for {seconds:.0f} s, in batches "
        f"that take {fed['p50_ms']:.0f} ms (p99 {fed['p99_ms']:.0f}; CPU {fed['node_cpu_ms']:.0f} "
        f"ms there and {fed['server_cpu_ms']:.0f} ms in the server); {rounds} calls of each:"
    )
    report.say()
    report.say(head)
    for name, seen in times.items():
        report.say(f"| {name} | {_row(seen)} |")
    every = [ms for seen in times.values() for ms in seen.statement_ms]
    report.say(
        f"\n- all statements: p50 {_p(every, 50):.2f} ms, p99 {_p(every, 99):.2f} ms (wanted "
        f"{WANTED_P50_MS:g} and {WANTED_P99_MS:g}); a board's node CPU "
        f"{_p(times['board of a sport'].node_ms, 50):.2f} ms (wanted {WANTED_NODE_MS:g})"
    )
