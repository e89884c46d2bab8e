"""Alive without a database, ready only with all that is needed."""

from __future__ import annotations

import threading
import time

import pytest
from django.contrib.auth import get_user_model

from performance.balancing import health
from performance.balancing.health import _Prober

pytestmark = [pytest.mark.django_db, pytest.mark.timed]


@pytest.fixture(autouse=True)
def _ask_anew(monkeypatch):
    monkeypatch.setattr(health, "KEPT_S", 0.0)


def test_healthz_asks_nothing_of_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get("/healthz")

    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]


def test_the_wrapper_answers_healthz_and_hands_on_the_rest():
    said = []
    wrapped = health.wsgi_healthz(lambda environ, start: [b"the site"])

    assert wrapped({"PATH_INFO": "/healthz"}, lambda *words: said.append(words)) == [b"ok\n"]
    assert said[0][0] == "200 OK"
    assert wrapped({"PATH_INFO": "/"}, lambda *words: None) == [b"the site"]


async def test_the_live_nodes_wrapper_does_the_same():
    sent = []

    async def send(message):
        sent.append(message)

    async def site(scope, receive, send):
        await send("the site")

    wrapped = health.asgi_healthz(site)
    await wrapped({"type": "http", "path": "/healthz"}, None, send)
    await wrapped({"type": "websocket", "path": "/healthz"}, None, send)

    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b"ok\n"
    assert sent[2] == "the site"


@pytest.mark.django_db(transaction=True)
def test_readyz_says_ready_and_no_more_to_strangers(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"ready": True}


@pytest.mark.django_db(transaction=True)
def test_readyz_tells_staff_and_the_token_each_dependency_with_its_time(client, settings):
    settings.READYZ_TOKEN = "t" * 32
    get_user_model().objects.create_user("ann", password="x", is_staff=True)
    by_token = client.get("/readyz", headers={"Authorization": "Bearer " + "t" * 32}).json()
    wrong = client.get("/readyz", headers={"Authorization": "Bearer " + "u" * 32}).json()
    client.login(username="ann", password="x")
    by_staff = client.get("/readyz").json()

    for answer in (by_token, by_staff):
        assert [one["name"] for one in answer["dependencies"]] == ["database", "bus", "cache"]
        assert all(one["ok"] and one["ms"] > 0 for one in answer["dependencies"])
    assert "dependencies" not in wrong


def test_a_dependency_that_is_away_makes_the_node_unready(client, monkeypatch, settings):
    settings.READYZ_TOKEN = "t" * 32
    probers = (_Prober("database", lambda: None), _Prober("bus", refuse))
    monkeypatch.setattr(health, "_probers", probers)

    answer = client.get("/readyz", headers={"Authorization": "Bearer " + "t" * 32})

    assert answer.status_code == 503
    assert answer["Retry-After"] == "2"
    assert answer.json()["dependencies"][1]["said"] == "ConnectionRefusedError: no"


def refuse():
    raise ConnectionRefusedError("no")


def test_a_dependency_that_hangs_is_asked_once_and_waited_for_briefly(monkeypatch):
    asked, release = [], threading.Event()

    def hang():
        asked.append(1)
        release.wait(10)

    monkeypatch.setattr(health, "_probers", (_Prober("database", hang),))
    monkeypatch.setattr(health, "LIMIT_S", 0.1)
    began = time.monotonic()
    answers = [health.ready()[0] for _ in range(3)]
    release.set()

    assert [answer.said for answer in answers] == ["no answer in time"] * 3
    assert time.monotonic() - began < 8  # it hangs for ten
    assert len(asked) == 1
