"""The board's API through the WSGI application: computed, from the store, and from memory.

One run, alternating; the times are of the server alone, without network or proxy. Computed means
that the value was invalidated before the request. With the cache off whatever the answer rests on
is computed too, above all the list of sports, which a miss has from the cache: so this says what
the cache spares, and `cache_misses` what it adds.
"""

from __future__ import annotations

import dataclasses
import importlib
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

SPORT = "soccer_benchmark"
PATH = "/api/v1/odds"
QUERY = f"sport={SPORT}&markets=h2h"
EVENTS, BOOKMAKERS = 30, 12
ROUNDS = 200
WANTED_RATIO = 10


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from django.core.wsgi import get_wsgi_application
    from django.test import override_settings

    from performance.caching import wsgi
    from performance.caching.services import cache, wsgi_cache

    importlib.import_module("protipp.urls")  # with them come the routes
    fill(events=EVENTS, bookmakers=BOOKMAKERS)
    # A crowd may be given what an invalidation has just ended; here what is computed is waited for.
    wsgi._routes[:] = [dataclasses.replace(route, outdated_s=0) for route in wsgi._routes]
    application = wsgi_cache(get_wsgi_application())
    size_bytes = len(_ask(application))
    families = [family for family in cache.families() if family.name in ("odds", "sports")]
    off = override_settings(PERFORMANCE={"CACHING": {"enabled": False}})

    def switched_off() -> None:
        off.enable()
        for family in families:
            family.memory.clear()

    states: dict[str, Callable[[], object]] = {
        "computed": lambda: cache.purge("odds", "sports"),
        "computed, the cache off": switched_off,
        "from the store": lambda: [family.memory.clear() for family in families],
        "from memory": lambda: None,
    }
    for _ in range(5):  # prepared statements, the push, the wrapper's headers
        _ask(application)
        time.sleep(0.05)
    times_ms: dict[str, list[float]] = {name: [] for name in states}
    for _ in range(ROUNDS):
        for name, prepare in states.items():
            prepare()
            started = time.perf_counter()
            _ask(application)
            times_ms[name].append((time.perf_counter() - started) * 1000)
            if name == "computed, the cache off":
                off.disable()
        time.sleep(0.002)  # the push of the invalidation arrives
    _tell(report, size_bytes, times_ms)
    _hits(report)


def _tell(report: Report, size_bytes: int, times_ms: dict[str, list[float]]) -> None:
    p50_ms = {name: statistics.median(times) for name, times in times_ms.items()}
    off_ms = p50_ms["computed, the cache off"]
    report.say(f"{EVENTS} events at {BOOKMAKERS} bookmakers, {size_bytes / 1024:.0f} KB; p50, p99:")
    for name, times in times_ms.items():
        report.say(
            f"- {name}: {p50_ms[name]:.3f} ms, {statistics.quantiles(times, n=100)[98]:.3f} ms "
            f"({off_ms / p50_ms[name]:.1f}x less time than with the cache off)"
        )
    report.say(f"- wanted: at least {WANTED_RATIO}x less than uncached")


def _ask(application: Any) -> bytes:
    from django.test import RequestFactory

    environ = RequestFactory().get(PATH, QUERY_STRING=QUERY).environ | {"HTTP_HOST": "localhost"}
    said: list[str] = []
    body = application(environ, lambda status, headers, *rest: said.append(status))
    data = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    if not said[0].startswith("200"):
        raise SystemExit(f"{PATH}?{QUERY} answered {said[0]}: {data[:200]!r}")
    return data


def _hits(report: Report) -> None:
    """What a hit costs beside one bare GET of the same bytes; CPU, best of 5 rounds."""
    from performance.caching.services import cached
    from performance.core import stores

    @cached("bench", ttl_s=600, memory_s=600, schema=bytes)
    def bench(key: str) -> bytes:
        return random.Random(1).randbytes(10_000)

    bench("a")
    time.sleep(0.1)
    bench("a")
    client = stores.cache_store()
    client.set("bench:bare", bench("a"))
    memory_us = _cpu_us(lambda: bench("a"), 20_000)
    bare_us = _cpu_us(lambda: client.get("bench:bare"), 2_000)

    def from_store() -> None:
        bench.memory.clear()
        bench("a")

    store_us = _cpu_us(from_store, 2_000)
    report.say(f"- a hit of 10 KB in memory, through the decorator: {memory_us:.2f} us of CPU")
    report.say(
        f"- in the store: {store_us:.0f} us, {store_us / bare_us:.1f}x a bare GET "
        f"({bare_us:.0f} us)"
    )


def _cpu_us(act: Callable[[], object], calls: int) -> float:
    rounds = []
    for _ in range(5):
        started = time.thread_time()
        for _ in range(calls):
            act()
        rounds.append((time.thread_time() - started) / calls * 1e6)
    return min(rounds)


def fill(*, events: int, bookmakers: int, sport: str = SPORT) -> None:
    """Store so many events with a price of each outcome at so many bookmakers."""
    from odds.quotes import Batch, EventInfo, Quote, event_key
    from odds.services import ingest

    chance, now = random.Random(7), datetime.now(UTC)
    infos, quotes = [], []
    for number in range(events):
        home, away = f"Home {number}", f"Away {number}"
        key = event_key(sport, now.date(), home, away)
        infos.append(
            EventInfo(
                key=key,
                sport_key=sport,
                sport_title="Benchmark",
                commence_time=now + timedelta(hours=1 + number),
                home_team=home,
                away_team=away,
            )
        )
        quotes += [
            Quote(
                event_key=key,
                bookmaker_key=f"book{book}",
                market="h2h",
                outcome=outcome,
                point=None,
                price=Decimal(f"{base * (1 + chance.random() * 0.08):.2f}"),
                last_update=now,
            )
            for book in range(bookmakers)
            for outcome, base in ((home, 2.1), ("Draw", 3.0), (away, 3.3))
        ]
    named = {f"book{book}": f"Book {book}" for book in range(bookmakers)}
    ingest(Batch(source="benchmark", events=infos, bookmakers=named, quotes=quotes))
