"""Every statement timed where it is asked for, and an N+1 named with its line.

One wrapper a connection. What a request asked is kept in a ContextVar, so threads and coroutines
do not mix; what is worth telling goes to the bus, because web nodes and staff pages are different
processes.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any, cast

import redis
from django.conf import settings
from django.core.signals import setting_changed
from django.db.backends.base.base import BaseDatabaseWrapper

from performance.core import context, signals, stores
from performance.core.asked import Statement
from performance.queries.conf import conf
from performance.queries.fingerprint import fingerprint, shape
from performance.queries.n_plus_one import remedy

logger = logging.getLogger(__name__)

FINDINGS_KEY = "queries:n_plus_one"
SLOW_KEY = "queries:slow"
KEPT_FINDINGS = 200
LONGEST_KEPT = 10_000
"""Characters of a statement that are kept of a finding: one may have a megabyte."""
UNSAFE_IN_COMMENT = re.compile(r"[^A-Za-z0-9_/:.<>-]")


class Asked:
    """What one request has asked so far: statement text to [count, seconds, line of code]."""

    __slots__ = ("often", "statements")

    def __init__(self) -> None:
        self.statements: dict[str, list[Any]] = {}
        self.often = conf().n_plus_one_count

    def add(self, sql: str, seconds: float) -> None:
        try:
            seen = self.statements[sql]
        except KeyError:
            self.statements[sql] = [1, seconds, ""]
            return
        seen[0] += 1
        seen[1] += seconds
        # Walking the stack costs more than the bookkeeping, so it is done once, when it matters.
        if seen[0] == self.often:
            seen[2] = calling_line()

    def costliest(self, limit: int) -> list[Statement]:
        """Return the shapes that took the most time; a new text costs a parse of 1-5 ms."""
        shapes: dict[str, list[Any]] = {}
        for sql, (count, seconds, _) in list(self.statements.items()):
            mine = shapes.setdefault(fingerprint(sql), [shape(sql), 0, 0.0])
            mine[1] += count
            mine[2] += seconds
        found = [Statement(name, *numbers) for name, numbers in shapes.items()]
        return sorted(found, key=lambda one: one.seconds, reverse=True)[:limit]

    def n_plus_ones(self) -> list[tuple[str, int, float, str]]:
        """Return (sql, count, ms, line) of each statement that was asked too often."""
        return [
            (sql, count, seconds * 1000, line)
            for sql, (count, seconds, line) in self.statements.items()
            if count >= self.often and seconds * 1000 >= conf().n_plus_one_ms
        ]


asked: ContextVar[Asked | None] = ContextVar("asked", default=None)
_asked, _route = asked.get, context.route.get


def capture(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context_: dict[str, Any]
) -> Any:
    """Time one statement; the wrapper that each connection carries. Costs less than a microsecond.

    So what is the same for all statements of a route is found by one look-up, and the stack is
    walked only for what is slow or repeated. `sql` is text, or psycopg's composed SQL.
    """
    name, comment, slow_s = _place(_route())
    if type(sql) is not str:
        sql = _as_text(sql, context_)
    ok = False
    started = perf_counter()
    try:
        result = execute(sql + comment, params, many, context_)
        ok = True
        return result
    finally:
        seconds = perf_counter() - started
        signals.recorder.observe("sql", name, seconds, ok)
        request = _asked()
        if request is not None:
            request.add(sql, seconds)
        if seconds >= slow_s:
            _tell(SLOW_KEY, sql, {"ms": seconds * 1000, "line": calling_line(), "count": 1})


@functools.lru_cache(maxsize=1024)
def _place(route: str) -> tuple[str, str, float]:
    """Return what all statements of a route share.

    The name they are counted by, the comment that tells the server of it, and from how many seconds
    on one is slow.
    """
    name = route or settings.PROCESS
    comment = f" /* route='{UNSAFE_IN_COMMENT.sub('_', name)}' */"
    return name, comment, conf().slow_query_ms / 1000


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"PERFORMANCE", "PROCESS"}:
        _place.cache_clear()


setting_changed.connect(_forget)


def _as_text(sql: Any, context_: dict[str, Any]) -> str:
    """Return composed SQL as the text that the server would get, so that it can be commented."""
    if isinstance(sql, bytes):
        return sql.decode()
    text: str = sql.as_string(context_["connection"].connection)
    return text


def install(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Give a new connection the wrapper; the signal comes again for each pooled check-out."""
    if (
        conf().capture
        and connection.vendor == "postgresql"
        and capture not in connection.execute_wrappers
    ):
        connection.execute_wrappers.append(capture)


def finish(request: Asked) -> None:
    """Tell the bus of the N+1s that one request made."""
    for sql, count, ms, line in request.n_plus_ones():
        others = [other for other in request.statements if other != sql]
        found = {"ms": ms, "line": line, "count": count, "remedy": remedy(sql, others)}
        _tell(FINDINGS_KEY, sql, found)


def _tell(key: str, sql: str, found: dict[str, Any]) -> None:
    found |= {
        "sql": shape(sql)[:LONGEST_KEPT],
        "route": context.route.get(),
        "seen_unix_s": time.time(),
    }
    field = f"{found['route']}|{fingerprint(sql)}"
    try:
        bus = stores.bus()
        # Bounded: the routes and statements of our own code, but raw SQL could be without end.
        if bus.hlen(key) < KEPT_FINDINGS or bus.hexists(key, field):
            bus.hset(key, field, json.dumps(found))
    except redis.RedisError as error:
        logger.warning("A finding about a query was not kept, the bus is away: %s", error)


def findings(key: str) -> list[dict[str, Any]]:
    """Return what was told under `key`, newest first; empty while the bus is away."""
    try:
        stored = cast("dict[bytes, bytes]", stores.bus().hgetall(key))
    except redis.RedisError:
        return []
    found: list[dict[str, Any]] = [
        {"key": field.decode(), **json.loads(value)} for field, value in stored.items()
    ]
    return sorted(found, key=lambda one: one["seen_unix_s"], reverse=True)


_OURS = str(settings.BASE_DIR)
_NOT_OURS = (f"{settings.BASE_DIR}/.venv", str(Path(__file__).parent), sys.prefix)


def calling_line() -> str:
    """Return `file:line in function` of the innermost frame of the project's own code.

    Wrappers of Django's `execute`, whoever set them, pass a statement on and did not ask for it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        ours = name.startswith(_OURS) and not name.startswith(_NOT_OURS)
        if ours and "execute" not in code.co_varnames[: code.co_argcount]:
            where = name.removeprefix(_OURS).lstrip("/")
            return f"{where}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""
