"""The invalidation rules of a CacheConfig row: read, refused, and in force everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from performance.caching import rules
from performance.caching.models import CacheConfig
from performance.caching.rules import Rules
from performance.caching.services import UnusableRule, cache, cached


def test_each_kind_of_rule_is_read():
    read = rules.parse(["tag:sport:epl", "model:auth.Group", "every:2m", "every:60s", "key:board*"])

    assert read == Rules(("sport:epl",), ("auth.group",), 60, ("board*",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sport:epl", "begins with none of"),
        ("every:0s", "at least one second"),
        ("every:-5s", "whole number"),
        ("every:5w", "whole number"),
        ("model:Group", "app_label.Model"),
        ("tag:", "ASCII without spaces"),
        ("tag:a b", "ASCII without spaces"),
        (7, "is no text"),
        ("tag:" + "x" * 300, "more than 200 characters"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_with_what_it_could_be(text, said):
    with pytest.raises(UnusableRule, match=said) as caught:
        rules.parse([text])
    assert "every:60s" in str(caught.value)


@pytest.mark.parametrize("value", ["tag:a", None, 5, {"tag": "a"}, ["tag:a"] * 33])
def test_what_is_no_list_of_rules_is_refused(value):
    with pytest.raises(UnusableRule):
        rules.parse(value)


@given(st.lists(st.text() | st.integers() | st.none(), max_size=40))
def test_whatever_a_row_holds_is_read_or_refused(texts):
    with suppress(UnusableRule):
        assert isinstance(rules.parse(texts), Rules)


_names = st.from_regex(r"[!-~]{1,40}", fullmatch=True)


@given(
    st.lists(_names, max_size=5),
    st.lists(st.tuples(st.integers(1, 999), st.sampled_from("smhd")), max_size=3),
)
def test_every_tag_and_time_survives_being_written_as_a_rule(tags, times):
    texts = [*(f"tag:{tag}" for tag in tags), *(f"every:{n}{unit}" for n, unit in times)]

    read = rules.parse(texts)
    assert list(read.tags) == list(dict.fromkeys(tags))
    assert read.every_s == min((n * rules.UNITS_S[unit] for n, unit in times), default=0)


@pytest.mark.parametrize(
    ("given", "field"),
    [(["nonsense"], "begins with none"), (["model:odds.Nothing"], "There is no model")],
)
def test_a_row_with_a_wrong_rule_is_not_saved_by_a_form(given, field):
    row = CacheConfig(cache_key="board", ttl_seconds=5, invalidation_rules=given)
    with pytest.raises(ValidationError, match=field):
        row.full_clean(validate_unique=False, validate_constraints=False)


# --- in force


def make_ruled(*texts, name="ruled", **options):
    calls = []

    @cached(name, **{"ttl_s": 600, "memory_s": 600} | options)
    def ruled(key: str) -> int:
        calls.append(key)
        return len(calls)

    return ruled, lambda: CacheConfig.objects.create(
        cache_key=name, ttl_seconds=600, invalidation_rules=list(texts)
    )


@pytest.mark.django_db(transaction=True)
def test_a_tag_rule_takes_effect_live_and_ends_with_its_row(hearing, eventually):
    ruled, save = make_ruled("tag:weather")
    assert ruled("a") == 1
    row = save()
    eventually(lambda: ruled.policy.also == ("weather",))

    assert ruled("a") == 2, "what was stored before the rule knows nothing of the tag"
    cache.invalidate("weather")
    assert ruled("a") == 3
    row.delete()
    eventually(lambda: ruled.policy.also == ())
    ruled("a")
    before = ruled("a")
    cache.invalidate("weather")
    assert ruled("a") == before


@pytest.mark.django_db(transaction=True)
def test_a_model_rule_sees_every_way_of_writing_and_only_after_commit(hearing, eventually):
    ruled, save = make_ruled("model:auth.Group")
    save()
    eventually(lambda: ruled.rules.models)
    eventually(lambda: ruled("a") == ruled("a"))

    group = Group.objects.create(name="first")

    def by_hand():
        with connection.cursor() as cursor:
            cursor.execute("/* by hand */ update auth_group set name = %s", ["other"])

    for write in (
        by_hand,
        lambda: Group.objects.create(name="a"),
        lambda: Group.objects.filter(name="a").update(name="b"),
        lambda: Group.objects.bulk_create([Group(name="c")]),
        lambda: group.permissions.set([Permission.objects.first()]),
        lambda: Group.objects.all().delete(),
    ):
        before = ruled("a")
        with transaction.atomic():
            write()
            with ThreadPoolExecutor(1) as other:
                assert other.submit(ruled.peek, "a").result().value == before, "not yet"
        assert ruled("a") > before
    before = ruled("a")
    list(Group.objects.all())
    assert ruled("a") == before


@pytest.mark.django_db(transaction=True)
def test_a_key_rule_follows_the_families_and_values_it_names(hearing, eventually):
    ruled, save = make_ruled('key:board["soccer*', "key:other*")
    make_ruled(name="board")
    save()
    eventually(lambda: ruled.policy.also == ("family:board",))
    eventually(lambda: ruled("a") == ruled("a"))

    first = ruled("a")
    cache.purge_key("board", "tennis")
    assert ruled("a") == first
    cache.purge_key("board", "soccer_epl")
    assert ruled("a") > first
    second = ruled("a")
    cache.purge("board")
    assert ruled("a") > second


def test_an_every_rule_ends_what_was_made_before_the_last_multiple(fake):
    ruled, _ = make_ruled(memory_s=0)
    ruled.policy = rules.apply(ruled.defaults, None, rules.NONE, ())
    override = rules.Override(
        cache_key="ruled", ttl_seconds=600, strategy="redis", compression_enabled=True, version=1
    )
    ruled.policy = rules.apply(ruled.defaults, override, rules.parse(["every:60s"]), ())
    fake.now_s = 1_800_000_000.0 - 5  # five seconds before a multiple of 60

    assert ruled("a") == 1
    assert ruled.find("a").fresh_until_s == 1_800_000_000.0
    fake.advance(4)
    assert ruled("a") == 1
    fake.advance(1)
    assert ruled("a") == 2, "not even stale"
    fake.advance(59)
    assert ruled("a") == 2
