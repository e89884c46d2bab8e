"""A process that is killed between COMMIT and its hook: what `strict` is for."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction

from performance.caching import runtime as runtimes
from performance.caching import transactions
from performance.caching.conf import conf
from performance.caching.services import StoreAway, cache, cached
from performance.core import stores

pytestmark = pytest.mark.django_db(transaction=True)


def make_name(**options):
    @cached("name", **{"ttl_s": 60, "memory_s": 60, "tags": lambda pk: [f"name:{pk}"]} | options)
    def name(pk: int) -> str:
        return Group.objects.values_list("name", flat=True).get(pk=pk)

    return name


def write_and_die(pk, strict, pipe):
    """Rename a row, and be killed right after COMMIT, before the cache's own hook."""
    connections.close_all()
    stores.forget()
    with transaction.atomic():
        transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
        Group.objects.filter(pk=pk).update(name="new")
        cache.invalidate(f"name:{pk}", strict=strict)
        pipe.send("before COMMIT")
        pipe.recv()


@pytest.fixture
def killed():
    """Start the writer; return what goes on between its write and its death."""
    fork = multiprocessing.get_context("fork")
    made = []

    def start(pk, *, strict):
        here, there = fork.Pipe()
        connections.close_all()
        process = fork.Process(target=write_and_die, args=(pk, strict, there))
        process.start()
        made.append((process, here, there))
        assert here.poll(60)
        here.recv()

        def end():
            here.send("go")
            process.join(60)
            assert process.exitcode == -signal.SIGKILL

        return end

    yield start
    for process, *ends in made:
        process.kill()
        process.join()
        for end in ends:
            end.close()


def test_a_strict_writer_that_is_killed_after_commit_leaves_nothing_old(killed, eventually):
    name, row = make_name(), Group.objects.create(name="old")
    assert name(row.pk) == "old"
    end = killed(row.pk, strict=True)
    for _ in range(20):
        assert name(row.pk) == "old", "not yet committed"
    assert name.find(row.pk).source == "bypass", "and what is read now is kept by nobody"
    end()
    client, poison = stores.cache_store(), runtimes.current().generation_key(f"name:{row.pk}")
    assert 0 < client.pttl(poison) <= conf().poison_s * 1000
    client.pexpire(poison, 300)  # as if its time had passed, but for these

    def cached_again():
        assert name(row.pk) == "new"
        return name.find(row.pk).source in ("l1", "l2")

    eventually(cached_again)


def test_without_strict_the_same_death_leaves_the_old_value(killed):
    """What the other test would show if strict did nothing."""
    name, row = make_name(), Group.objects.create(name="old")
    name(row.pk)
    killed(row.pk, strict=False)()

    assert name(row.pk) == "old"


def test_a_strict_write_is_seen_right_after_its_commit(hearing):
    name, row = make_name(), Group.objects.create(name="old")
    name(row.pk)
    with transaction.atomic():
        Group.objects.filter(pk=row.pk).update(name="new")
        cache.invalidate(f"name:{row.pk}", strict=True)

    assert name(row.pk) == "new"
    assert name.find(row.pk).source in ("l1", "l2")


def test_a_rolled_back_strict_write_gives_its_tags_back_soon(hearing, eventually, settings):
    settings.PERFORMANCE = {"CACHING": {"poison_s": 60}}
    name, row = make_name(), Group.objects.create(name="old")
    with transaction.atomic():
        cache.invalidate(f"name:{row.pk}", strict=True)
        transaction.set_rollback(True)

    def cached_again():
        return name.find(row.pk).source in ("l1", "l2")

    assert eventually(cached_again) < 15, "not only when the poison ends by itself"


def test_one_commit_does_not_end_the_poison_of_another_open_transaction(fake):
    key = runtimes.current().generation_key("tag")
    fake.poison([key], b"1" * 8, 10_000)
    fake.poison([key], b"2" * 8, 10_000)
    fake.heal([key], b"1" * 8)
    assert len(fake.kept[key][0]) == 9

    fake.harden([key])
    assert len(fake.kept[key][0]) == 9, "nor does an invalidation that is not strict"
    fake.heal([key], b"2" * 8)
    assert len(fake.kept[key][0]) == 16


def test_the_real_store_keeps_poisons_as_the_fake_does(hearing):
    store, key = hearing.store, hearing.generation_key("tag")
    store.poison([key], b"1" * 8, 10_000)
    store.poison([key], b"2" * 8, 10_000)
    store.heal([key], b"1" * 8)
    assert store.read([key]) == [b"p" + b"2" * 8]
    assert 0 < stores.cache_store().pttl(key) <= 10_000

    store.harden([key])
    assert store.read([key]) == [b"p" + b"2" * 8]
    store.soften([key])
    assert store.read([key]) == [b"p" + b"2" * 8]
    store.heal([key], b"2" * 8)
    (sound,) = store.read([key])
    assert len(sound) == 16


def test_the_poison_of_an_open_strict_transaction_is_prolonged(hearing, eventually):
    key, client = hearing.generation_key("tag"), stores.cache_store()
    with transaction.atomic():
        cache.invalidate("tag", strict=True)
        client.pexpire(key, 5_000)  # as if half of its time had passed
        eventually(lambda: client.pttl(key) > 5_000)
        assert len(hearing.store.read([key])[0]) == 9
    assert len(hearing.store.read([key])[0]) == 16


def test_a_strict_write_fails_when_the_store_cannot_promise_it(fake):
    fake.away = True

    @transaction.atomic
    def write():
        Group.objects.create(name="never")
        cache.invalidate("tag", strict=True)

    with pytest.raises(StoreAway):
        write()
    assert not Group.objects.exists()
    assert not transactions.poisons()
