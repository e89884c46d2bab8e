"""What the cache invalidates reaches the edge: after COMMIT, once, and bounded in number."""

import threading
import time

import pytest
from django.db import OperationalError, transaction

from performance.caching import runtime as runtimes
from performance.caching.services import cache, cached, cached_response
from performance.cdn import edging, following, services
from performance.cdn.models import Purge
from performance.cdn.providers.choosing import provider


@pytest.fixture
def gatherer(monkeypatch, transactional_db):
    """The room's own, as new: no purge of another test makes it wait."""
    fresh = following.Gatherer(services._gatherer._purge)
    monkeypatch.setattr(services, "_gatherer", fresh)
    yield fresh
    until(lambda: fresh._thread is None)


@pytest.fixture
def family(edge, gatherer, transactional_db):
    with cache.fake():

        @cached("followed", schema=bytes, cdn="public", tags=lambda key: [f"event:{key}"])
        def followed(key: str) -> bytes:
            return b"{}"

        @cached("kept to ourselves")
        def private() -> int:
            return 1

        yield followed
        for name in ("followed", "kept to ourselves"):
            del runtimes.families()[name]


def until(true, within_s=30.0):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


def keys(edge, header="xkey-purge"):
    """What it was told to forget, less the tag of answers that could not name all of theirs."""
    told = [headers[header] for _, headers in edge.told if header in headers]
    return [keys.removesuffix(" many") for keys in told]


def test_what_a_transaction_invalidates_reaches_the_edge_after_commit(family, edge):
    with transaction.atomic():
        cache.invalidate("event:1")
        time.sleep(3 * following.GATHER_S)
        assert edge.told == []

    until(lambda: keys(edge) == ["event:1"])


def test_a_rollback_tells_the_edge_nothing(family, edge):
    def fail():
        with transaction.atomic():
            cache.invalidate("event:1")
            raise ValueError("the writer's own")

    with pytest.raises(ValueError, match="the writer's own"):
        fail()
    time.sleep(3 * following.GATHER_S)

    assert edge.told == []


def test_many_batches_at_once_are_one_purge(family, edge):
    for batch in range(100):
        cache.invalidate("sport:a", f"event:{batch % 10}")

    until(lambda: edge.told)
    (told,) = keys(edge)
    assert set(told.split()) == {"sport:a", *(f"event:{n}" for n in range(10))}
    until(lambda: Purge.objects.get().state == Purge.State.SENT)


def test_a_moving_market_writes_at_most_a_row_a_second_for_each_process(family, edge):
    began = time.monotonic()

    def third():
        cache.invalidate("sport:a")
        return Purge.objects.count() >= 3

    until(third)
    assert Purge.objects.count() <= time.monotonic() - began + 2


def test_a_soft_invalidation_lets_the_edge_serve_it_stale(family, edge):
    cache.invalidate("event:1", hard=False)
    cache.invalidate("event:2", hard=False)
    cache.invalidate("event:2")

    until(lambda: len(edge.told) == 2)
    assert (keys(edge, "xkey-softpurge"), keys(edge)) == (["event:1"], ["event:2"])


def test_the_edge_is_told_of_public_families_only(family, edge):
    cache.purge("kept to ourselves")
    cache.purge("followed")

    until(lambda: edge.told)
    assert keys(edge) == ["family:followed"]


def test_tags_are_named_to_the_edge_as_its_answers_named_them(family, edge, rf):
    answer = cached_response(rf.get("/"), family, "a b\r\nX: y")
    cache.invalidate("event:a b\r\nX: y")

    until(lambda: edge.told)
    (told,) = keys(edge)
    assert told in answer["Surrogate-Key"].split()


def test_the_edge_is_told_once_the_cache_was_reached(edge, gatherer, transactional_db):
    with cache.fake() as store:

        @cached("followed", schema=bytes, cdn="public")
        def followed() -> bytes:
            return b"{}"

        store.away = True
        assert not cache.invalidate("event:1")
        time.sleep(3 * following.GATHER_S)
        assert edge.told == []
        store.away = False
        runtimes.current().resend()
        until(lambda: keys(edge) == ["event:1"])
        del runtimes.families()["followed"]


def test_without_an_edge_no_row_and_no_thread(gatherer, transactional_db):
    with cache.fake():

        @cached("followed", schema=bytes, cdn="public")
        def followed() -> bytes:
            return b"{}"

        cache.invalidate("event:1")
        del runtimes.families()["followed"]

    assert gatherer._thread is None
    assert not Purge.objects.exists()


def test_a_purge_waits_for_the_database(edge, monkeypatch):
    monkeypatch.setattr(following, "RETRY_S", 0.05)
    purged, down = [], threading.Event()
    down.set()

    def purge(tags, soft):
        if down.is_set():
            raise OperationalError("the database is away")
        purged.append((sorted(tags), soft))

    waiting = following.Gatherer(purge)
    waiting.add(["a"], soft=False)
    time.sleep(0.3)
    waiting.add(["a"], soft=True)
    waiting.add(["b"], soft=False)
    down.clear()

    until(lambda: purged == [(["a", "b"], False)])
    until(lambda: waiting._thread is None)


def test_public_answers_name_the_tags_that_are_purged(family, rf):
    answer = cached_response(rf.get("/"), family, "1")
    told = dict(edging.told(list(answer.items()), "/api/v1/x", provider()))

    assert told["Surrogate-Key"].split()[:2] == ["site", "section:/api"]
    assert {"event:1", "family:followed"} <= set(told["Surrogate-Key"].split())
    assert "stale-while-revalidate" in told["CDN-Cache-Control"]


def test_a_process_that_loads_no_family_tells_the_edge_too(edge, gatherer, transactional_db):
    with cache.fake():
        cache.invalidate("sport:a")  # as a feed does: the families are of the web nodes
        until(lambda: keys(edge) == ["sport:a"])
