"""Purging and warming with a look ahead, and looking at single values."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse

from performance.caching import keytext, looking, services
from performance.caching.errors import UnreadableKey, UnusableTarget
from performance.caching.services import Target, UnknownFamily, cache, cached
from performance.core import acts, stores


@pytest.fixture
def boards():
    calls = []

    @cached("board", ttl_s=60, tags=lambda sport: [f"sport:{sport}"], warm=lambda: [("a",), ("b",)])
    def board(sport: str) -> dict[str, str]:
        calls.append(sport)
        return {"sport": sport, "text": "<script>" * 3}

    board.calls = calls
    return board


# --- keys as people write them ------------------------------------------------------------------


def test_a_written_key_is_read_back_as_the_loader_gets_it():
    @cached("typed")
    def typed(
        sport: str, books: tuple[str, ...], roi: Decimal, since: datetime | None, day: date
    ) -> int:
        return 1

    arguments = (
        "soccer", ("bet365", "pinnacle"), Decimal("0.50"),
        datetime(2026, 1, 2, tzinfo=UTC), date(2026, 3, 4),
    )  # fmt: skip
    text = typed.readable_key(arguments)
    family, read = keytext.read_key(text)

    assert (family, read) == (typed, arguments)
    assert [type(one) for one in read] == [type(one) for one in arguments]
    assert typed.digest(read) == typed.digest(arguments)


def test_a_key_may_leave_out_what_has_a_default():
    @cached("short")
    def short(a: int, b: int = 7) -> int:
        return a + b

    assert keytext.read_key("short[1]")[1] == (1, 7)


@pytest.mark.parametrize(
    "text", ["board", "board[", 'board["a","b"]', "board[1]", "board[]", 'board{"a":1}']
)
def test_what_is_no_key_says_how_one_looks(boards, text):
    with pytest.raises((UnreadableKey, UnknownFamily), match="board"):
        keytext.read_key(text)


def test_only_values_have_a_stored_name(boards):
    boards("a")
    keys = [key.decode() for key in stores.cache_store().keys("*")]

    named = [name for name in map(keytext.stored_name, keys) if name]
    assert [name.family for name in named] == ["board"]


# --- purging with a look ahead ------------------------------------------------------------------


def test_looking_ahead_counts_what_a_tag_touches_and_changes_nothing(boards):
    for sport in ("a", "b", "c"):
        boards(sport)

    seen = services.foresee_purge(Target(tags=("sport:b",)), soft=False)
    assert seen.families == {"board": 1}
    assert "Of all stored values 1 are touched (board 1)" in seen.said
    assert services.foresee_purge(Target(families=("board",)), soft=True).entries == 3
    assert services.foresee_purge(Target(everything=True), soft=True).entries == 3
    assert services.foresee_purge(Target(key='board["b"]'), soft=False).entries == 1
    assert services.foresee_purge(Target(tags=("nobody",)), soft=False).entries == 0
    assert boards.calls == ["a", "b", "c"]
    boards.memory.clear()
    boards("b")
    assert boards.calls == ["a", "b", "c"]


def test_what_was_invalidated_already_is_not_counted_again(boards):
    boards("a")
    cache.invalidate("sport:a")

    assert services.foresee_purge(Target(tags=("sport:a",)), soft=False).entries == 0


def test_a_look_is_bounded_and_says_so(boards, monkeypatch):
    monkeypatch.setattr(looking, "KEYS_AT_MOST", 2)
    for sport in ("a", "b", "c"):
        boards(sport)

    seen = services.foresee_purge(Target(families=("board",)), soft=False)
    assert seen.entries == 2
    assert "Of the first 2 stored values" in seen.said


def test_looking_ahead_without_a_store_says_so(boards, settings):
    boards("a")
    settings.CACHE_URL = "redis://127.0.0.1:1/0"
    stores.forget()
    try:
        seen = services.foresee_purge(Target(families=("board",)), soft=False)
    finally:
        stores.forget()

    assert seen.entries is None
    assert "cannot be said" in seen.said


@pytest.mark.parametrize("given", [{}, {"tags": ("a",), "everything": True}])
def test_a_target_is_one_thing(given):
    with pytest.raises(UnusableTarget, match="exactly one"):
        Target(**given)


def test_purging_all_asks_and_takes_no_for_an_answer(boards, monkeypatch, capsys):
    boards("a")
    monkeypatch.setattr("builtins.input", lambda question: "no")

    with pytest.raises(CommandError, match="Nothing was purged"):
        call_command("purge_cache", "--all")
    assert "all families" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    call_command("purge_cache", "--all")
    boards("a")
    assert boards.calls == ["a", "a"]


def test_purging_all_where_nobody_can_be_asked_is_refused(boards, monkeypatch):
    def nobody(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(CommandError, match="--yes"):
        call_command("purge_cache", "--all")


# --- warming ------------------------------------------------------------------------------------


def test_warming_by_tag_key_or_family_computes_only_that(boards):
    call_command("warm_cache", "--tag=sport:b")
    call_command("warm_cache", '--key=board["c"]')
    assert boards.calls == ["b", "c"]
    call_command("warm_cache", "--family=board", "--limit=1")
    assert boards.calls == ["b", "c", "a"]


def test_warming_is_looked_at_before_it_is_done(boards, capsys):
    call_command("warm_cache", "--family=board", "--dry-run")

    assert "would compute 2 values anew: board 2" in capsys.readouterr().out
    assert boards.calls == []
    assert "no family's `warm`" in services.foresee_warming(Target(tags=("x",)), limit=5)


def test_an_act_ends_in_time_and_says_what_is_left(boards, monkeypatch):
    monkeypatch.setattr("performance.caching.cache_acts.WARMING_ENDS_S", -1)

    said = acts.get("cache.warm").run(family="board", limit=5)
    assert said.startswith("Warmed 1 of 2 values.")
    assert "warm_cache" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "exactly one"),
        ({"family": "board", "tags": "a"}, "exactly one"),
        ({"key": "board[1]"}, "no key"),
        ({"key": "nope[1]"}, "No cached family"),
    ],
)
def test_the_form_refuses_what_is_no_target(boards, values, said):
    form = acts.get("cache.purge").form(values)

    assert said in str(form.errors)


# --- looking at one value -----------------------------------------------------------------------


def test_a_fresh_value_is_told_with_its_age_size_tags_and_content(hearing, eventually, boards):
    boards("a")

    found = services.inspect('board["a"]')
    assert (found.state, found.key, found.family) == ("fresh", 'board["a"]', "board")
    assert found.age_s < 5
    assert 50 < found.fresh_for_s <= 60
    assert found.kept_for_s > 60
    assert [(tag.tag, tag.verdict) for tag in found.tags] == [
        ("family:board", "same"),
        ("sport:a", "same"),
    ]
    assert json.loads(found.value)["sport"] == "a"
    eventually(lambda: boards("a") and services.inspect('board["a"]').in_memory)
    assert services.inspect(found.stored_as).value == found.value


def test_a_miss_says_which_tag_made_it_one(boards):
    boards("a")
    cache.invalidate("sport:a")

    found = services.inspect('board["a"]')
    assert found.state == "miss"
    assert "sport:a is invalidated" in found.why
    assert services.inspect('board["never"]').state == "miss"


def test_a_softly_invalidated_value_is_stale_and_says_so(boards):
    boards("a")
    cache.invalidate("sport:a", hard=False)

    found = services.inspect('board["a"]')
    assert found.state == "stale"
    assert found.tags[1].verdict == "softly invalidated"


def test_foreign_bytes_under_a_key_are_told_and_not_raised(boards):
    boards("a")
    stored_as = services.inspect('board["a"]').stored_as
    stores.cache_store().set(stored_as, b"\x80\x04\x95pickle?")

    found = services.inspect('board["a"]')
    assert found.state == "unreadable"
    assert found.value is None


def test_pages_and_json_are_shown_as_text_and_only_their_beginning():
    @cached("page", schema=bytes)
    def page(kind: str) -> bytes:
        kinds = {
            "html": b"<p>hello</p>",
            "json": b'{"a":1}',
            "raw": b"\xff\xfe",
            "long": b"x" * 40_000,
        }
        return kinds[kind]

    for kind in ("html", "json", "raw", "long"):
        page(kind)
    assert services.inspect('page["html"]').value == "<p>hello</p>"
    assert services.inspect('page["json"]').value == '{\n  "a": 1\n}'
    assert "2 bytes that are no text" in services.inspect('page["raw"]').value
    assert services.inspect('page["long"]').cut


def test_a_familys_stored_values_can_be_listed(boards):
    boards("a")
    boards("b")

    rows = services.stored_keys("board", limit=50)
    assert len(rows) == 2
    assert all(size > 0 and left_s > 60 for _, size, left_s in rows)
    assert len(services.stored_keys("board", limit=1)) == 1


@pytest.mark.django_db
def test_looking_at_values_needs_its_own_permission_and_escapes_them(
    boards, client, django_user_model
):
    boards("a")
    user = django_user_model.objects.create_user("staff", password="x" * 14, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_cache"))
    client.force_login(user)
    url = reverse("admin:performance_page", args=["cache-keys"])
    asked = {"key": 'board["a"]'}

    assert client.get(url, asked).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="inspect_cache"))
    page = client.get(url, asked).content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>" * 3 not in page
    assert "sport:a" in page
    assert "No cached family" in client.get(url, {"key": "nope[1]"}).content.decode()
    listed = client.get(url, {"family": "board"}).content.decode()
    assert ":v:board:1:" in listed
