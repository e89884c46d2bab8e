"""The same promises over a cluster, behind sentinels, and on Redis 7."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from performance.caching import runtime as runtimes
from performance.caching.services import cache, cached
from performance.core import stores, topology
from tests.conftest import program
from tests.performance.caching import topologies

pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = topologies.Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def redis7(tmp_path_factory):
    made = topologies.Single(tmp_path_factory.mktemp("redis7"), program("redis-server"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    made = topologies.Sentinels(tmp_path_factory.mktemp("sentinels"))
    yield made
    made.end()


@pytest.fixture
def at(settings, eventually):
    """Point the cache at an arrangement, and wait until its pushes are heard."""

    def point(there):
        _leave()
        settings.CACHE_URL = there.url
        stores.cache_store().flushall()
        runtime = runtimes.current()
        eventually(lambda: runtime.hearing)
        return runtime

    yield point
    _leave()


def _leave():
    runtime = runtimes.replace(None)
    if runtime is not None:
        runtime.stop()
    stores.cache_store().close()
    stores.forget()


def make_value(**options):
    origin = {"value": 0, "calls": 0}

    @cached(
        "value",
        **{"ttl_s": 60, "memory_s": 30, "tags": lambda key: [f"tag:{key}", "every"]} | options,
    )
    def value(key: str) -> int:
        origin["calls"] += 1
        return origin["value"]

    return value, origin


KEYS = [str(number) for number in range(30)]  # enough to lie on every node


@pytest.mark.parametrize("where", ["cluster", "sentinels", "redis7"])
def test_every_promise_holds_there_too(where, request, at, eventually):
    runtime = at(request.getfixturevalue(where))
    value, origin = make_value()
    assert [value(key) for key in KEYS] == [0] * 30
    value.memory.clear()
    assert value.many([(key,) for key in KEYS]) == [0] * 30
    assert origin["calls"] == 30
    assert {value.find(key).source for key in KEYS} == {"l1"}

    origin["value"] = 1
    cache.invalidate(*(f"tag:{key}" for key in KEYS[:20]))
    assert [value(key) for key in KEYS] == [1] * 20 + [0] * 10
    cache.invalidate("every", hard=False)
    eventually(lambda: [value(key) for key in KEYS] == [1] * 30)

    origin["value"] = 2
    assert cache.purge_key("value", "3")
    assert value("3") == 2
    assert value("4") == 1

    key = runtime.generation_key("tag:4")
    runtime.store.poison([key], b"1" * 8, 5000)
    eventually(lambda: value("4") == 2)
    assert value.find("4").source == "bypass"
    runtime.store.heal([key], b"1" * 8)
    value("4")
    eventually(lambda: value.find("4").source == "l1")
    assert runtime.store.distinct([value.budget.counter(runtime.clock())[0]]) == 30
    assert runtime.store.breaker.opened == 0


@pytest.mark.parametrize("where", ["cluster", "redis7"])
def test_a_change_made_by_another_client_empties_memory(where, request, at, eventually):
    runtime = at(request.getfixturevalue(where))
    value, origin = make_value()
    for key in KEYS:
        value(key)
    origin["value"] = 1
    for key in KEYS:
        stores.cache_store().set(runtime.generation_key(f"tag:{key}"), b"x" * 16)

    eventually(lambda: [value(key) for key in KEYS] == [1] * 30)


def test_reads_go_on_while_a_node_of_the_cluster_is_away_and_after(cluster, at, eventually):
    runtime = at(cluster)
    value, origin = make_value()
    for key in KEYS:
        value(key)
    lost = cluster.servers[1]
    lost.end()
    try:
        assert [value(key) for key in KEYS] == [0] * 30
        eventually(lambda: not runtime.hearing)
        origin["value"] = 1
        cache.invalidate(*(f"tag:{key}" for key in KEYS))
    finally:
        lost.start()
    eventually(lambda: runtime.hearing and not runtime._unsent)
    eventually(lambda: [value(key) for key in KEYS] == [1] * 30)


def test_a_failover_of_the_sentinels_is_followed_and_nothing_old_comes_back(
    sentinels, at, eventually
):
    """The replica is made to lack the last invalidation, as one that lags behind would."""
    runtime = at(sentinels)
    value, origin = make_value()
    for key in KEYS:
        value(key)
    eventually(lambda: sentinels.replica.ask("DBSIZE") == sentinels.master.ask("DBSIZE"))
    sentinels.replica.ask("REPLICAOF", "127.0.0.1", "1")  # it hears nothing more
    origin["value"] = 1
    cache.invalidate("every")
    sentinels.master.end()
    assert value("1") == 1, "reads go on"

    eventually(lambda: sentinels.replica.ask("ROLE")[0] == b"master")
    eventually(lambda: runtime.hearing and not runtime._unsent)
    value.memory.clear()
    assert [value(key) for key in KEYS] == [1] * 30
    eventually(lambda: value.find("1").source == "l1")


def test_a_server_that_comes_back_from_a_snapshot_brings_nothing_old_back(redis7, at, eventually):
    runtime = at(redis7)
    value, origin = make_value(memory_s=0)
    value("a")
    eventually(lambda: stores.cache_store().get("protipp:run"))
    stores.cache_store().save()
    origin["value"] = 1
    cache.invalidate("tag:a")
    redis7.server.end()
    redis7.server.start()

    eventually(lambda: runtime.hearing and not runtime._unsent)
    assert stores.cache_store().keys("*:v:value:*"), "it did bring the old value back"
    assert value("a") == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://a", "begins with 'http'"),
        ("redis+sentinel://a:1", "names no service"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://a:x", "port 'x'"),
        ("redis+cluster://a:1/3", "a cluster has only 0"),
        ("redis+sentinel://a/odds/x", "database 'x'"),
    ],
)
def test_an_address_that_says_nothing_is_refused_by_name(url, said):
    with pytest.raises(ImproperlyConfigured, match=f"CACHE_URL .*{said}"):
        topology.parse(url, name="CACHE_URL")


def test_an_address_may_hold_a_login_and_tls():
    there = topology.parse("rediss+cluster://me:p%40ss@a:1,[::1]:2", name="CACHE_URL")

    assert there.nodes == (("a", 1), ("::1", 2))
    assert dict(there.options) == {"username": "me", "password": "p@ss", "ssl": True}
