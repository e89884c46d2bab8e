"""One cache library in a process of its own: `python -m benchmarks.rivals NAME REDIS_URL`.

Each has its own settings and its own way of patching Django, so no two share a process. It says
what it can do, then answers each line on its input with one round: the CPU microseconds of one hit.
The value is the same for all: 50 rows of odds, about 10 KB as JSON, stored the way that the
library stores by default.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

Hit = Callable[[int], None]
"""Called with a number of calls to make; a loop of its own, so that ours costs nothing."""
ROUND_S = 0.15
SPORT = "soccer_epl"
TTL_S = 600


def rows() -> list[dict[str, Any]]:
    return [
        {
            "event": f"{number:032x}",
            "bookmaker": f"bookmaker{number % 12}",
            "market": "h2h",
            "outcome": f"Team number {number}",
            "point": None,
            "price": 1.5 + number / 64,
            "last_update": f"2026-11-24T12:{number:02}:00Z",
            "suspended": False,
        }
        for number in range(50)
    ]


def loop(call: Callable[[], object]) -> Hit:
    def hit(calls: int) -> None:
        for _ in range(calls):
            call()

    return hit


def ours(url: str) -> dict[str, Hit]:
    import django
    import msgspec

    django.setup()
    from performance.caching import runtime
    from performance.caching.services import cached

    kind = {"event": str, "bookmaker": str, "market": str, "outcome": str, "point": float | None,
            "price": float, "last_update": str, "suspended": bool}  # fmt: skip
    row = msgspec.defstruct("Row", list(kind.items()), frozen=True, array_like=True)
    board = tuple[row, ...]  # type: ignore[valid-type]

    @cached("bench.memory", ttl_s=TTL_S, memory_s=TTL_S, schema=board)
    def in_memory(sport: str) -> Any:
        return tuple(row(**one) for one in rows())

    @cached("bench.store", ttl_s=TTL_S, memory_s=0, schema=board)
    def in_store(sport: str) -> Any:
        return tuple(row(**one) for one in rows())

    @cached("bench.plain", ttl_s=TTL_S, memory_s=0)
    def plain(sport: str) -> Any:
        return rows()

    while not runtime.current().hearing:
        time.sleep(0.01)
    for family in (in_memory, in_store, plain):
        family(SPORT)
        time.sleep(0.2)  # the push of its first generation
        family(SPORT)
    before = in_memory.counts.hit_l1
    in_memory(SPORT)
    if in_memory.counts.hit_l1 == before:
        raise SystemExit("ours: the value is not in memory")
    return {
        "memory": loop(lambda: in_memory(SPORT)),
        "store": loop(lambda: in_store(SPORT)),
        "store, dicts": loop(lambda: plain(SPORT)),
    }


def bare(url: str) -> dict[str, Hit]:
    """A GET of 10 KB of bytes by redis-py and hiredis: what nobody can be below."""
    import redis

    client = redis.Redis.from_url(url, protocol=2)
    client.set("bench:bare", json.dumps(rows()).encode())
    return {"store": loop(lambda: client.get("bench:bare"))}


def _django(url: str, backend: str, **more: Any) -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="bench",
        CACHES={"default": {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "bench"}},
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": tempfile.mkdtemp(prefix="protipp-rival-") + "/db.sqlite3",
            }
        },
        USE_TZ=True,
        **more,
    )
    django.setup()


def _get() -> Hit:
    from django.core.cache import cache

    cache.set(SPORT, rows(), TTL_S)
    if cache.get(SPORT) != rows():
        raise SystemExit("Django's cache did not keep the value")
    return loop(lambda: cache.get(SPORT))


def django_redis(url: str) -> dict[str, Hit]:
    _django(url, "django_redis.cache.RedisCache")
    return {"store": _get()}


def django_own(url: str) -> dict[str, Hit]:
    _django(url, "django.core.cache.backends.redis.RedisCache")
    return {"store": _get()}


def django_locmem(url: str) -> dict[str, Hit]:
    _django("bench", "django.core.cache.backends.locmem.LocMemCache")
    return {"memory": _get()}


def dogpile(url: str) -> dict[str, Hit]:
    from dogpile.cache import make_region

    hits = {}
    for tier, backend, arguments in (
        ("memory", "dogpile.cache.memory", {}),
        ("store", "dogpile.cache.redis", {"url": url}),
    ):
        region = make_region(name=tier).configure(
            backend, expiration_time=TTL_S, arguments=arguments
        )

        @region.cache_on_arguments(namespace=f"bench.{tier}")
        def board(sport: str) -> Any:
            return rows()

        board(SPORT)
        hits[tier] = loop(lambda board=board: board(SPORT))  # type: ignore[misc]
    return hits


def cashews(url: str) -> dict[str, Hit]:
    from cashews import Cache

    events = asyncio.new_event_loop()
    hits = {}
    for tier, address in (("memory", "mem://"), ("store", url)):
        cache = Cache()
        cache.setup(address)

        @cache(ttl=TTL_S, key="bench:{sport}")
        async def board(sport: str) -> Any:
            return rows()

        async def calls(number: int, board: Any = board) -> None:
            for _ in range(number):
                await board(SPORT)

        events.run_until_complete(calls(2))
        hits[tier] = lambda number, calls=calls: events.run_until_complete(calls(number))
    return hits  # type: ignore[return-value]


def _table() -> Any:
    """A model of the 50 rows in SQLite: what caches of queries are asked for."""
    from django.db import connection, models

    columns: dict[str, Any] = {
        name: models.CharField(max_length=64)
        for name in ("event", "bookmaker", "market", "outcome", "last_update")
    }
    columns |= {
        "point": models.FloatField(null=True),
        "price": models.FloatField(),
        "suspended": models.BooleanField(),
        "__module__": "benchmarks.rivals",
        "Meta": type("Meta", (), {"app_label": "bench"}),
    }
    model = type("Row", (models.Model,), columns)
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model.objects.bulk_create([model(**row) for row in rows()])  # type: ignore[attr-defined]
    return model


def cachalot(url: str, *, tier: str = "store") -> dict[str, Hit]:
    backend = "django_redis.cache.RedisCache"
    if tier == "memory":
        backend = "django.core.cache.backends.locmem.LocMemCache"
    _django(
        url,
        backend,
        INSTALLED_APPS=["django.contrib.contenttypes", "cachalot"],
        CACHALOT_UNCACHABLE_TABLES=(),
    )
    model = _table()
    query = lambda: list(model.objects.values())  # noqa: E731 - one query, asked again and again
    query()
    from django.db import connection

    with connection.execute_wrapper(_no_queries):
        query()
    return {tier: loop(query)}


def cachalot_memory(url: str) -> dict[str, Hit]:
    return cachalot(url, tier="memory")


def _no_queries(execute: Any, sql: str, *rest: Any) -> Any:
    raise SystemExit(f"not cached: {sql}")


def cacheops(url: str) -> dict[str, Hit]:
    _django(
        url,
        "django.core.cache.backends.dummy.DummyCache",
        INSTALLED_APPS=["django.contrib.contenttypes", "cacheops"],
        CACHEOPS_REDIS=url,
        CACHEOPS_DEFAULTS={"timeout": TTL_S},
        CACHEOPS={},
    )
    from cacheops import cached

    @cached(timeout=TTL_S)
    def board(sport: str) -> Any:
        return rows()

    board(SPORT)
    return {"store": loop(lambda: board(SPORT))}


CONTESTANTS: dict[str, tuple[Callable[[str], dict[str, Hit]], str]] = {
    "bare redis-py GET": (bare, "redis"),
    "ours": (ours, ""),
    "django-redis": (django_redis, "django-redis"),
    "Django's own RedisCache": (django_own, "django"),
    "Django's own LocMemCache": (django_locmem, "django"),
    "dogpile.cache": (dogpile, "dogpile.cache"),
    "cashews": (cashews, "cashews"),
    "django-cachalot": (cachalot, "django-cachalot"),
    "django-cachalot over LocMemCache": (cachalot_memory, "django-cachalot"),
    "django-cacheops": (cacheops, "django-cacheops"),
}


def _calls(hit: Hit) -> int:
    """Return how many calls take about ROUND_S of CPU, of this thread: what runs beside it, such as
    a thread that listens for changes, costs the same however many hits there are.
    """
    calls = 16
    while True:
        started = time.thread_time()
        hit(calls)
        took_s = time.thread_time() - started
        if took_s > ROUND_S / 8:
            return max(1, int(calls * ROUND_S / took_s))
        calls *= 2


def main() -> None:
    make, package = CONTESTANTS[sys.argv[1]]
    hits = make(sys.argv[2])
    calls = {tier: _calls(hit) for tier, hit in hits.items()}
    version = importlib.metadata.version(package) if package else ""
    sys.stdout.write(json.dumps({"version": version, "tiers": list(hits)}) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        told = {}
        for tier, hit in hits.items():
            started = time.thread_time()
            hit(calls[tier])
            told[tier] = (time.thread_time() - started) / calls[tier] * 1e6
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
