"""Purges: what is recorded, what an edge is told, and what happens when it does not answer."""

import io
import json
import string

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from performance.cdn import health, ledger, services
from performance.cdn.errors import InvalidPurge, NoCdn
from performance.cdn.health import Health
from performance.cdn.models import Purge
from performance.cdn.providers import base, choosing

TAG_CHARACTERS = set(string.ascii_letters + string.digits + ":_.-/%")


def due():
    Purge.objects.update(next_attempt_at=timezone.now())


def test_tags_reach_the_edge_after_commit(edge, transactional_db):
    with transaction.atomic():
        services.manager.purge(tags=["sport:a", "event:1"])
        assert edge.told == []

    ((_, headers),) = edge.told
    assert headers["xkey-softpurge"] == "event:1 sport:a many"
    assert Purge.objects.get().state == Purge.State.SENT


def test_a_rollback_purges_nothing(edge, transactional_db):
    def fail():
        with transaction.atomic():
            services.manager.purge(tags=["sport:a"])
            raise ValueError("the writer's own")

    with pytest.raises(ValueError, match="the writer's own"):
        fail()

    assert edge.told == []
    assert not Purge.objects.exists()


def test_a_process_killed_before_delivery_leaves_the_purge_to_the_next(edge, transactional_db):
    ledger.record(choosing.provider(), urls=[], tags=["sport:a"], soft=True)
    services.manager.deliver()

    assert len(edge.told) == 1


def test_an_edge_that_is_down_is_told_later_and_in_the_end_given_up(edge, transactional_db):
    edge.status = 503
    services.manager.purge(tags=["sport:a"])
    assert Purge.objects.get().state == Purge.State.PENDING
    due()
    services.manager.deliver()

    purge = Purge.objects.get()
    assert (purge.state, purge.attempts) == (Purge.State.FAILED, 2)
    assert "answered 503" in purge.answer


def test_an_edge_that_refuses_is_not_asked_again(edge, transactional_db):
    edge.status = 403
    services.manager.purge(tags=["sport:a"])

    purge = Purge.objects.get()
    assert (purge.state, purge.attempts) == (Purge.State.FAILED, 1)
    assert "refused PURGE" in purge.answer


def test_the_same_purge_waiting_twice_is_sent_once(edge, transactional_db):
    with transaction.atomic():
        services.manager.purge(tags=["b", "a"])
        services.manager.purge(tags=["a", "b"])

    assert len(edge.told) == 1


def test_many_tags_are_split_below_the_header_limit():
    lines = list(base.packed([f"event:{n:032d}" for n in range(1000)], 4096))

    assert all(len(line) <= 4096 for line in lines)
    assert sum(len(line.split()) for line in lines) == 1000


@given(st.text(max_size=200))
def test_no_tag_can_split_a_header(tag):
    harmless = bool(tag) and len(tag) <= 128 and set(tag) <= TAG_CHARACTERS
    if harmless:
        ledger.check_targets([], [tag])
    else:
        with pytest.raises(InvalidPurge, match="letters, digits"):
            ledger.check_targets([], [tag])


@pytest.mark.parametrize("url", ["no-slash", "/a b", "/a\r\nX: y", "http://else/where"])
def test_a_url_that_is_no_path_is_refused_by_name(edge, db, url):
    with pytest.raises(InvalidPurge, match="starts with one '/'"):
        services.manager.purge(urls=[url])

    assert not Purge.objects.exists()


def test_without_a_cdn_the_error_names_the_setting(db):
    with pytest.raises(NoCdn, match="CDN_PROVIDER"):
        services.manager.purge(tags=["a"])


def test_the_command_reports_what_the_edge_said(edge, transactional_db):
    out = io.StringIO()
    call_command("purge_cdn", "--tag", "sport:a", "--url", "/arbitrage/", "--json", stdout=out)

    assert json.loads(out.getvalue())["state"] == "sent"
    assert [path for path, _ in edge.told] == ["/", "/arbitrage/"]


def test_the_command_fails_loudly_while_the_edge_is_down(edge, transactional_db):
    edge.status = 503
    with pytest.raises(CommandError, match="stays in the ledger"):
        call_command("purge_cdn", "--tag", "sport:a")


def test_probes_take_the_edge_out_and_bring_it_back(edge, db, monkeypatch):
    monkeypatch.setattr(health, "REMEMBER_S", 0)
    assert services.manager.url("/static/a.css").startswith("http://127.0.0.1")
    edge.status = 502
    services.probe()
    assert services.manager.healthy()
    services.probe()
    assert services.manager.url("/static/a.css") == "/static/a.css"

    edge.status = 200
    for _ in range(3):
        services.probe()
    assert services.manager.healthy()


def test_one_bad_probe_among_good_ones_changes_nothing():
    state = Health(True, 0, 0, "")
    for ok in (False, True, False, True):
        state = health.step(state, ok=ok, detail="", now=1)

    assert state.healthy


def test_the_page_is_complete_without_javascript(admin_client, edge, transactional_db):
    services.manager.purge(tags=["sport:a"])
    html = admin_client.get("/admin/performance/cdn/").content.decode()

    assert "sport:a" in html
    assert "Purges waiting" in html
