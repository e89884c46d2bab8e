"""Telling: at least once, in order, whatever is away or runs beside it."""

from __future__ import annotations

import json
import threading

import pytest
import redis
from django.db import connections

from odds import outbox
from odds.models import OutboxMessage
from odds.services import deliver_outbox
from performance.caching.services import cache
from performance.core import stores

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timed]


@pytest.fixture
def heard():
    """What comes over the bus, as decoded messages; call it to take what came so far."""
    pubsub = stores.bus().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("odds:changes")
    pubsub.get_message(timeout=1)

    def take() -> list[dict]:
        found = []
        while message := pubsub.get_message(timeout=0.2):
            found.append(json.loads(message["data"]))
        return found

    yield take
    pubsub.close()


def put(*names: str) -> list[int]:
    return [
        OutboxMessage.objects.create(tags=[f"event:{name}"], message={"name": name}).pk
        for name in names
    ]


def test_messages_are_told_oldest_first_with_their_numbers_and_then_forgotten(heard):
    ids = put("a", "b", "c")

    assert deliver_outbox() == 3
    assert heard() == [{"id": id, "name": name} for id, name in zip(ids, "abc", strict=True)]
    assert not OutboxMessage.objects.exists()


def test_caches_are_invalidated_before_the_message_goes_out(monkeypatch):
    order = []
    monkeypatch.setattr(cache, "invalidate", lambda *tags, **how: order.append(tags) or True)
    monkeypatch.setattr(redis.Redis, "publish", lambda self, *message: order.append("published"))
    put("a")

    deliver_outbox()

    assert order == [("event:a",), "published"]


def test_a_bus_that_is_away_keeps_the_messages_and_their_order(heard, monkeypatch):
    def away(self, *args):
        raise redis.ConnectionError("away")

    ids = put("a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "publish", away)
        assert deliver_outbox() == 0
    assert OutboxMessage.objects.count() == 2

    assert deliver_outbox() == 2
    assert [message["id"] for message in heard()] == ids


def test_a_cache_that_is_away_keeps_the_messages(monkeypatch):
    put("a")
    monkeypatch.setattr(cache, "invalidate", lambda *tags, **how: False)

    assert deliver_outbox() == 0
    assert OutboxMessage.objects.count() == 1


def test_many_at_once_tell_each_message_once_and_in_order(heard):
    ids = put(*(str(n) for n in range(60)))
    errors: list[BaseException] = []

    def deliver() -> None:
        try:
            deliver_outbox()
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert [message["id"] for message in heard()] == ids


def test_one_that_sleeps_with_the_lock_does_not_hold_up_overdue_messages(heard, monkeypatch):
    put("a")
    monkeypatch.setattr(outbox, "WAIT_S", 0.05)
    monkeypatch.setattr(outbox, "OVERDUE_S", 0.0)
    sleeper = connections.create_connection("default")
    with sleeper.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [outbox.LOCK])
        try:
            assert deliver_outbox() == 1
        finally:
            sleeper.close()
    assert len(heard()) == 1


def test_an_empty_outbox_costs_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert deliver_outbox() == 0
