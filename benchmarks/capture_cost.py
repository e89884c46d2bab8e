"""What watching queries costs beside others: our capture, django-zeal and django-silk.

CPU of our wrapper alone, around nothing; then of reading one row through the ORM, each variant
alternating with none; the best of 15 rounds. A rival that is not installed (requirements-bench.txt)
is left out by name.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from django.conf import settings
from django.db import connection
from django.test.utils import override_settings

ROUNDS, QUERIES = 15, 200
WANTED_US = 1.0
SQL = 'SELECT "shop_book"."id", "shop_book"."title" FROM "shop_book" WHERE "shop_book"."id" = %s'


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from performance.queries.capture import capture

    if importlib.util.find_spec("silk"):  # its models must be an app's before it is imported
        with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "silk"]):
            return _compare(report, capture)
    return _compare(report, capture)


def _compare(report: Report, capture: Any) -> None:
    connection.ensure_connection()
    connection.execute_wrappers.clear()
    variants: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "nothing": nullcontext,
        "our capture, in a request": lambda: _captured(capture),
    }
    for module, make in (("zeal", _zeal), ("silk", _silk)):
        if importlib.util.find_spec(module):
            variants[module] = make
        else:
            report.say(f"- {module}: not installed (requirements-bench.txt)")
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, make in variants.items():
            with make():
                times[name].append(_cpu_us())
    report.say(f"- our wrapper by itself: {_alone_us(capture):.2f} us (wanted: {WANTED_US:g})")
    base = min(times["nothing"])  # the round that was disturbed least
    report.say(f"A query costs {base:.1f} us of the node's CPU by itself. Added to each:")
    for name, found in times.items():
        if name != "nothing":
            report.say(f"- {name}: {min(found) - base:+.1f} us")
    connection.execute_wrappers.append(capture)


def _alone_us(capture: Any) -> float:
    """Return what the wrapper adds to a call: timing, route, account; without monitoring's part."""
    from performance.core import signals

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

    before = signals.recorder
    signals.install(signals._Nobody())
    try:
        with _captured(capture, wrap=False):
            captured_us = rounds_us(lambda: capture(nothing, SQL, None, False, {}))
    finally:
        signals.install(before)
    return captured_us - rounds_us(lambda: nothing(SQL, None, False, {}))


def _cpu_us() -> float:
    from odds.models import Sport

    started = time.thread_time()
    for _ in range(QUERIES):
        Sport.objects.filter(pk="x").first()
    return (time.thread_time() - started) / QUERIES * 1e6


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
    DataCollector().configure()
    try:
        yield
    finally:
        SQLCompiler.execute_sql = SQLCompiler._execute_sql  # type: ignore[attr-defined,method-assign]
