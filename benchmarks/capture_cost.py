"""What watching queries costs beside others: our capture, django-zeal and django-silk.

CPU of our wrapper alone, around nothing; then of reading one row through the ORM, eight times a
request, in short blocks that stand next to blocks without it. Ours comes first: a rival is imported
only after, since what it leaves in the process would be counted as ours (silk's collector, asked
to profile, leaves cProfile on and makes everything after it twice as dear; its middleware does not
ask for that unless told to, so neither do we). A rival that is not installed (requirements-bench
.txt) is left out by name.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from django.conf import settings
from django.db import connection
from django.test.utils import override_settings

ROUNDS = 15
PAIRS = {"our capture, in a request": 400}
"""Pairs of blocks: 60, but for ours, which is less than what two blocks of the same differ by."""
REQUESTS, QUERIES = 4, 8
"""Of a block; queries are of each request, fewer than an N+1 has."""
WANTED_US = 1.0
SQL = 'SELECT "shop_book"."id", "shop_book"."title" FROM "shop_book" WHERE "shop_book"."id" = %s'
_zeal_is_on: list[bool] = []
Variant = Callable[[], AbstractContextManager[Any]]


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from performance.queries.capture import capture

    connection.ensure_connection()
    connection.execute_wrappers.clear()
    for name, us in _alone(capture).items():
        report.say(f"- our wrapper by itself, {name}: {us:.2f} us (wanted: {WANTED_US:g})")
    _compare(report, "our capture, in a request", lambda: _captured(capture))
    for module, make in (("silk", _silk), ("zeal", _zeal)):
        if not importlib.util.find_spec(module):
            report.say(f"- {module}: not installed (requirements-bench.txt)")
            continue
        # silk's models must be an app's before it is imported.
        apps = [*settings.INSTALLED_APPS, *(["silk"] if module == "silk" else [])]
        with override_settings(INSTALLED_APPS=apps):
            _compare(report, module, make)
    connection.execute_wrappers.append(capture)


def _compare(report: Report, name: str, make: Variant) -> None:
    for variant in (nullcontext, make):
        _block_us(variant)  # caches, prepared statements
    bare_us, with_us, added_us = [], [], []
    for _ in range(PAIRS.get(name, 60)):
        # Bare, watched, watched, bare: what drifts meets both alike.
        first, one, two, last = (_block_us(v) for v in (nullcontext, make, make, nullcontext))
        bare_us += (first, last)
        with_us += (one, two)
        added_us.append((one + two - first - last) / 2)
    least_us = _least_disturbed(with_us) - _least_disturbed(bare_us)
    report.say(
        f"- {name}: {least_us:+.1f} us between the least disturbed tenths, "
        f"{statistics.median(added_us):+.1f} us in the median pair, on a query's "
        f"{_least_disturbed(bare_us):.0f}"
    )


def _least_disturbed(blocks_us: list[float]) -> float:
    """Return the lowest tenth's bound: what others do on the machine only ever adds."""
    return statistics.quantiles(blocks_us, n=10)[0]


def _block_us(variant: Variant) -> float:
    from odds.models import Sport

    started = time.thread_time()
    for _ in range(REQUESTS):
        with variant():
            for _ in range(QUERIES):
                Sport.objects.filter(pk="x").first()
    return (time.thread_time() - started) / (REQUESTS * QUERIES) * 1e6


def _alone(capture: Any) -> dict[str, float]:
    """Return what the wrapper adds to a call: timing, route, account; then with monitoring's part,
    in a request that it watches.
    """
    from unittest import mock

    from performance.core import signals
    from performance.monitoring import clock
    from performance.monitoring.conf import MonitoringConf
    from performance.monitoring.recorder import StreamRecorder

    recorder = StreamRecorder(node="bench", process="web", bus=mock.Mock(), conf=MonitoringConf())
    recorder._stop.set()  # no thread: only the calls are measured
    before = signals.recorder
    found = {}
    try:
        signals.install(signals._Nobody())
        found["nobody recording"] = _alone_us(capture)
        signals.install(recorder)
        token = clock.current.set(clock.Clock())
        found["monitoring recording"] = _alone_us(capture)
        clock.current.reset(token)
    finally:
        signals.install(before)
    return found


def _alone_us(capture: Any) -> float:
    def nothing(sql: str, params: Any, many: bool, context: Any) -> None:
        pass

    def rounds_us(call: Callable[[], object], calls: int = 5_000) -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            started = time.thread_time()
            for _ in range(calls):
                call()
            best = min(best, (time.thread_time() - started) / calls * 1e6)
        return best

    with _captured(capture, wrap=False):
        captured_us = rounds_us(lambda: capture(nothing, SQL, None, False, {}))
    return captured_us - rounds_us(lambda: nothing(SQL, None, False, {}))


@contextmanager
def _captured(capture: Any, *, wrap: bool = True) -> Iterator[None]:
    from performance.core import context
    from performance.queries.capture import Asked, asked

    token, route = asked.set(Asked()), context.route.set("/bench/")
    with connection.execute_wrapper(capture) if wrap else nullcontext():
        yield
    asked.reset(token)
    context.route.reset(route)


def _zeal() -> AbstractContextManager[Any]:
    from zeal import zeal_context
    from zeal.constants import initialize_app_registry
    from zeal.patch import patch

    if not _zeal_is_on:  # as its app does at start; it cannot be taken back, so it comes last
        initialize_app_registry()
        patch()
        _zeal_is_on.append(True)
    context: AbstractContextManager[Any] = zeal_context()
    return context


@contextmanager
def _silk() -> Iterator[None]:
    """As SilkyMiddleware does around each request: the SQL compiler patched, all kept."""
    from django.db.models.sql.compiler import SQLCompiler
    from silk.collector import DataCollector
    from silk.sql import execute_sql

    if not hasattr(SQLCompiler, "_execute_sql"):
        SQLCompiler._execute_sql = SQLCompiler.execute_sql  # type: ignore[attr-defined]
    SQLCompiler.execute_sql = execute_sql  # type: ignore[method-assign]
    DataCollector().configure(should_profile=False)
    try:
        yield
    finally:
        DataCollector().clear()
        SQLCompiler.execute_sql = SQLCompiler._execute_sql  # type: ignore[attr-defined,method-assign]
