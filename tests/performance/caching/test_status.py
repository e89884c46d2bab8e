"""The page, the command and the checks: what staff see, and what they set there."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
import redis
from django.contrib.auth.models import Permission
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.template.loader import get_template
from django.urls import reverse

from performance.caching import checks, stats
from performance.caching.models import CacheConfig
from performance.caching.services import cache, cached
from performance.core import acts, pages, stores


@pytest.fixture
def board():
    @cached("board", ttl_s=5, tags=lambda key: [key], warm=lambda: [("a",)])
    def board(key: str) -> str:
        return key

    return board


def row_of(name="board"):
    return next(row for row in cache.overview()["families"] if row["name"] == name)


def count(family, **counted):
    """Write a minute's counters as a process sends them."""
    key = stats.minute_key(stats.time.time())
    for name, amount in counted.items():
        stores.bus().hincrby(key, f"{family}|{name}", amount)


def test_a_row_says_by_tier_who_answered_what_it_cost_and_what_was_wrong(board):
    count(
        "board", hit_l1=60, hit_l2=20, stale=5, fallback=5, miss=10, waited=3, loads=10,
        load_us=200_000, saved_us=1_500_000, evicted=4, outdated=2, audited=50, audited_stale=1,
    )  # fmt: skip

    row = row_of()
    assert (row["reads"], row["memory_ratio"], row["store_ratio"]) == (100, 0.6, 0.2)
    assert (row["stale_ratio"], row["hit_ratio"]) == (0.1, pytest.approx(0.9))
    assert (row["load_mean_ms"], row["saved_s"]) == (20.0, 1.5)
    assert (row["waited"], row["evicted"], row["outdated"]) == (3, 4, 2)
    assert row["audited_stale_ratio"] == 0.02
    total = cache.overview()["total"]
    assert (total["audited"], total["audited_stale_ratio"]) == (50, 0.02)


def test_advice_comes_with_its_evidence_on_page_and_command(board, capsys):
    count(
        "board",
        hit_l1=900,
        miss=100,
        loads=100,
        load_us=2_000_000,
        compared=100,
        compared_ms=500_000,
    )

    advice = row_of()["advice"]
    assert (advice["verdict"], advice["ttl_s"]) == (
        "fits",
        None,
    )  # tags: 1 % and no change in 500 s
    count("board", compared=900, compared_ms=4_500_000)
    advice = row_of()["advice"]
    assert (advice["verdict"], advice["ttl_seconds"]) == ("longer", 30)
    call_command("cache_status")
    said = capsys.readouterr().out
    assert "Lifetimes advised" in said
    assert "1,000 reads" in said


def test_reads_are_drawn_by_minute_and_by_who_answered(board, monkeypatch):
    monkeypatch.setattr(stats.time, "time", lambda: 1_800_000_030.0)
    count("board", hit_l1=300, miss=30)

    series = cache.overview()["series"]
    assert series["at"][-1] == 1_800_000_000
    assert (series["memory"][-1], series["missed"][-1]) == (10.0, 1.0)
    assert len(series["at"]) == stats.WINDOW_MINUTES
    assert series["memory"][0] == 0


def test_without_the_bus_the_page_says_so_and_still_knows_the_store(board, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    stores.forget()
    try:
        overview = cache.overview()
    finally:
        stores.forget()

    assert "REDIS_URL" in overview["error"]
    assert overview["server"]["error"] is None
    assert overview["families"][0]["hit_ratio"] is None


def test_processes_say_how_long_a_push_takes(hearing, eventually):
    def lag_ms():
        found = cache.overview()["processes"]
        return found and found[0]["push_lag_ms"]

    eventually(lag_ms)
    assert lag_ms() > 0


def test_watching_in_json_is_an_object_a_line_and_ends_with_ctrl_c(board, capsys, monkeypatch):
    naps = iter([None])

    def nap(seconds):
        if next(naps, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr("performance.caching.management.commands.cache_status.time.sleep", nap)
    call_command("cache_status", "--json", "--watch")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["families"] for line in lines)


# --- setting a family ---------------------------------------------------------------------------

SETTINGS = {
    "family": "board",
    "ttl_seconds": 60,
    "strategy": "redis",
    "compression_enabled": True,
    "version": 1,
    "invalidation_rules": "tag:news\nevery:5m",
}


@pytest.mark.django_db(transaction=True)
def test_a_family_is_set_looked_at_and_reset_by_acts(hearing, eventually, board):
    configure, reset = acts.get("cache.configure"), acts.get("cache.reset")
    form = configure.form(SETTINGS)
    assert form.is_valid(), form.errors

    said = configure.preview(**form.cleaned_data)
    assert "ttl_seconds 5 → 60" in said
    assert "invalidation_rules none → tag:news, every:5m" in said
    assert not CacheConfig.objects.exists()
    configure.run(**form.cleaned_data)
    eventually(lambda: board.policy.ttl_s == 60)
    assert "in force for board already" in configure.preview(**form.cleaned_data)
    assert row_of()["rules_text"] == "tag:news\nevery:5m"
    assert "5 s" in reset.preview(family="board")
    assert "follows the code again" in reset.run(family="board")
    eventually(lambda: board.policy == board.defaults)
    assert "followed the code already" in reset.run(family="board")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ttl_seconds": 0}, "greater than or equal to 1"),
        ({"strategy": "disk"}, "disk is not one of"),
        ({"family": "nope"}, "nope is not one of"),
        ({"invalidation_rules": "whenever"}, "whenever"),
        ({"invalidation_rules": "model:odds.Nothing"}, "There is no model"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_their_field(board, wrong, said):
    form = acts.get("cache.configure").form(SETTINGS | wrong)

    assert not form.is_valid()
    assert said in str(form.errors)


@pytest.mark.django_db
def test_only_who_may_set_a_family_is_offered_it(board, client, django_user_model):
    user = django_user_model.objects.create_user("staff", password="x" * 14, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_cache"))
    client.force_login(user)
    url = reverse("admin:performance_page", args=["cache"])

    page = client.get(url).content.decode()
    assert "cache.configure" not in page
    user.user_permissions.add(Permission.objects.get(codename="change_cacheconfig"))
    page = client.get(url).content.decode()
    assert "data-may-set" in page
    assert "family=board" in page
    asked = client.get(reverse("admin:performance_act", args=["cache.configure"]), SETTINGS)
    assert "ttl_seconds 5 → 60" in asked.content.decode()


def test_every_page_has_the_script_that_the_frame_asks_for_or_asks_for_none():
    """A built site refuses to name a file that is not there: the page would be an error."""
    lacking = []
    for page in pages.all_pages():
        source = get_template(page.template_name).template.source
        asks = "{% block scripts %}" not in source or "{% block preload %}" not in source
        if asks and not finders.find(f"performance/js/{page.slug}.js"):
            lacking.append(page.slug)

    assert lacking == []


# --- checks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "ids"), [("", []), ("?protocol=2", []), ("?protocol=3", ["E003"])]
)
def test_the_protocol_under_which_no_push_arrives_is_an_error(settings, query, ids):
    settings.CACHE_URL = f"redis://127.0.0.1:1/0{query}"

    assert [found.id[-4:] for found in checks.protocol(None)] == ids


def test_arguments_that_never_come_twice_are_warned_of():
    @cached("endless")
    def endless(key: str, at: datetime, odds: float, since: datetime | None = None) -> int:
        return 1

    found = checks.endless_keys(None)
    assert [warning.id for warning in found] == ["performance_caching.W004"] * 2
    assert "'at'" in found[0].msg


def test_a_family_near_its_budget_is_warned_of():
    @cached("wide", entries=5)
    def wide(number: int) -> int:
        return number

    for number in range(3):
        wide(number)
    assert checks.cardinality(None) == []
    wide(4)
    (found,) = checks.cardinality(None)
    assert "'wide' has 4 keys in the store, of the 5" in found.msg


def test_servers_are_asked_for_what_they_do_when_full():
    store = stores.cache_store()
    before = store.config_get("maxmemory*")
    try:
        store.config_set("maxmemory-policy", "noeviction")
        store.config_set("maxmemory", 0)
        found = {warning.id[-4:] for warning in checks.eviction(None) if "CACHE_URL" in warning.msg}
        assert found == {"W002", "W006"}
    finally:
        store.config_set("maxmemory-policy", before["maxmemory-policy"])
        store.config_set("maxmemory", before["maxmemory"])
    assert checks.server_version(None) == []


def test_an_old_server_is_an_error(monkeypatch):
    monkeypatch.setattr(redis.Redis, "info", lambda self, section: {"redis_version": "6.2.14"})

    (found,) = checks.server_version(None)
    assert "Redis 6.2.14" in found.msg


def test_a_server_that_does_not_answer_is_no_finding(settings):
    settings.CACHE_URL = settings.REDIS_URL = "redis://127.0.0.1:1/0"
    stores.forget()
    try:
        found = [*checks.eviction(None), *checks.server_version(None), *checks.cardinality(None)]
    finally:
        stores.forget()
    assert found == []
