"""`invalidates(Model, tags)`: every way in which Django writes, and none before its COMMIT."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Concat

from performance.caching import transactions, writes
from performance.caching.services import cache

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch):
    """What was invalidated, in the order in which readers see it."""
    tags = []
    monkeypatch.setattr(
        "performance.caching.runtime.Runtime.invalidate",
        lambda self, names, *, hard: tags.extend(sorted(names)) or True,
    )
    yield tags
    for model in (Group, User, Permission):
        writes.unwatch(model)


@pytest.fixture
def groups(told):
    """Groups are cached by name; all are made, and what that told is forgotten."""
    cache.invalidates(Group, lambda group: [f"group:{group.name}"])
    made = [Group.objects.create(name=name) for name in "abc"]
    told.clear()
    return made


def test_a_row_that_is_made_changed_or_deleted_tells_its_tags(groups, told):
    Group.objects.create(name="d")
    assert told == ["group:d"]
    told.clear()

    groups[0].name = "z"
    groups[0].save()
    assert set(told) == {"group:a", "group:z"}, "what it was and what it is"
    told.clear()
    groups[1].delete()
    assert set(told) == {"group:b"}


@pytest.mark.parametrize("autocommit", [True, False])
def test_an_update_of_many_rows_tells_each_before_and_after(groups, told, autocommit):
    if autocommit:
        assert Group.objects.filter(name="a").update(name="x") == 1
    else:
        with transaction.atomic():
            assert Group.objects.filter(name="a").update(name="x") == 1
            assert told == []

    assert set(told) == {"group:a", "group:x"}


def test_bulk_create_and_bulk_update_tell_each_row(groups, told):
    Group.objects.bulk_create([Group(name="d"), Group(name="e")])
    assert set(told) == {"group:d", "group:e"}
    told.clear()

    for group, name in zip(groups, "xyz", strict=True):
        group.name = name
    Group.objects.bulk_update(groups, ["name"])
    assert set(told) == {f"group:{name}" for name in "abcxyz"}


def test_a_queryset_s_delete_and_update_or_create_tell(groups, told):
    Group.objects.filter(name__in=["a", "b"]).delete()
    assert set(told) == {"group:a", "group:b"}
    told.clear()

    Group.objects.update_or_create(name="c", defaults={"name": "k"})
    assert set(told) == {"group:c", "group:k"}


def test_a_many_to_many_field_tells_from_both_ends(groups, told):
    cache.invalidates(User, lambda user: [f"user:{user.username}"])
    user = User.objects.create(username="ann")
    told.clear()

    for change, wanted in (
        (lambda: user.groups.add(groups[0]), {"user:ann", "group:a"}),
        (lambda: groups[1].user_set.add(user), {"user:ann", "group:b"}),
        (lambda: user.groups.remove(groups[0]), {"user:ann", "group:a"}),
        (lambda: groups[1].user_set.clear(), {"user:ann", "group:b"}),
        (lambda: user.groups.set([groups[2]]), {"user:ann", "group:c"}),
        (lambda: user.groups.clear(), {"user:ann", "group:c"}),
    ):
        change()
        assert set(told) == wanted
        told.clear()


def test_related_managers_tell_too(groups, told):
    user = User.objects.create(username="ann")
    user.groups.add(*groups)
    told.clear()

    user.groups.filter(name="a").update(name="x")
    assert set(told) == {"group:a", "group:x"}


def test_a_write_of_very_many_rows_tells_what_stands_for_all(told, monkeypatch):
    monkeypatch.setattr(writes, "MOST_ROWS", 2)
    cache.invalidates(Group, lambda group: [f"group:{group.name}"], many=["groups"])
    Group.objects.bulk_create([Group(name=name) for name in "abc"])
    assert told == ["groups"]
    told.clear()

    assert Group.objects.update(name=Concat("name", Value("!"))) == 3
    assert told == ["groups"]
    told.clear()
    Group.objects.filter(name="a!").update(name="x")
    assert set(told) == {"group:a!", "group:x"}


def test_without_a_word_for_all_every_family_goes(told, monkeypatch):
    monkeypatch.setattr(writes, "MOST_ROWS", 0)
    cache.invalidates(Group, lambda group: [f"group:{group.name}"])

    Group.objects.create(name="a")
    assert "family:preset.api" in told


def test_nothing_is_told_after_a_rollback_of_the_savepoint_it_was_written_in(groups, told):
    with transaction.atomic():
        groups[0].delete()
        with transaction.atomic():
            Group.objects.filter(name="b").update(name="x")
            try:
                with transaction.atomic():
                    Group.objects.create(name="inner")
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            transaction.set_rollback(True)
        Group.objects.create(name="outer")
        assert told == []

    assert set(told) == {"group:a", "group:outer"}


def test_a_released_savepoint_tells_at_the_outermost_commit_and_not_before(groups, told):
    with transaction.atomic():
        with transaction.atomic(), transaction.atomic():
            Group.objects.create(name="deep")
        assert told == []

    assert told == ["group:deep"]


def test_a_thousand_writes_of_one_transaction_are_one_hook(told):
    cache.invalidates(Group, lambda group: [f"group:{group.name}"])
    with transaction.atomic():
        for number in range(20):
            Group.objects.create(name=f"{number}")
        hooks = transaction.get_connection().run_on_commit
        assert sum(isinstance(hook, transactions.Invalidation) for _, hook, *_ in hooks) == 1

    assert len(told) == 20


def test_a_model_that_nobody_watches_keeps_its_own_queryset():
    assert not isinstance(Permission.objects.all(), writes.TellingQuerySet)


def test_an_asynchronous_update_tells_as_well(groups, told):
    async_to_sync(Group.objects.filter(name="a").aupdate)(name="x")

    assert set(told) == {"group:a", "group:x"}
