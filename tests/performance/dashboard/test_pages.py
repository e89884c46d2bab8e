from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib import admin
from django.core import checks
from django.urls import reverse

from performance.core import acts, broadcast, pages
from performance.core.errors import PerformanceError
from performance.dashboard import checks as ours

from .conftest import MAY_DO, MAY_SEE, PASSWORD, Demo

pytestmark = pytest.mark.django_db
URL = "/admin/performance/demo/"


@pytest.fixture
def viewer(make_user, client, demo, pressed):
    client.force_login(make_user("anna", MAY_SEE))
    return client


def test_a_page_holds_its_snapshot_and_says_when_it_was_taken(viewer):
    answer = viewer.get(URL)
    data = re.search(r'<script id="snapshot" type="application/json">(.*?)</script>', answer.text)

    assert json.loads(data[1])["requests_per_s"] == 12.5
    assert re.search(r"as of <time [^>]+>\d\d:\d\d:\d\d</time> UTC", answer.text)
    assert "no-store" in answer["Cache-Control"]


def test_a_page_has_no_inline_script_or_style(viewer):
    html = viewer.get(URL).text

    assert "unsafe" not in viewer.get(URL)["Content-Security-Policy"]
    assert not re.search(r"\son\w+=|\sstyle=|<style", html)
    assert all("src=" in tag or "json" in tag for tag in re.findall(r"<script[^>]*>", html))


def test_a_page_shows_only_the_acts_that_the_viewer_may_do(viewer, make_user, client):
    assert "Press" not in viewer.get(URL).text

    client.force_login(make_user("bert", MAY_SEE, MAY_DO))

    assert "Press" in client.get(URL).text


def test_an_unknown_page_says_which_there_are(viewer):
    answer = viewer.get("/admin/performance/nothing/")

    assert answer.status_code == 404
    assert "There are:" in answer.text
    assert "demo" in answer.text


def test_a_page_that_is_not_permitted_says_what_it_needs(demo, make_user, client):
    client.force_login(make_user())
    answer = client.get(URL)

    assert answer.status_code == 403
    assert MAY_SEE in answer.text


def test_a_page_without_numbers_says_why(viewer, monkeypatch):
    def down(self):
        raise PerformanceError("The roller has not run yet. Start `manage.py monitor`.")

    monkeypatch.setattr(Demo, "snapshot", down)
    answer = viewer.get(URL)

    assert answer.status_code == 503
    assert "Start `manage.py monitor`" in answer.text
    assert viewer.get(f"{URL}snapshot/").status_code == 503


def test_the_snapshot_alone_is_json_under_the_same_permission(viewer, make_user, client):
    assert viewer.get(f"{URL}snapshot/").json()["requests_per_s"] == 12.5

    client.force_login(make_user("bert"))

    assert client.get(f"{URL}snapshot/").status_code == 403


def test_the_menu_has_the_permitted_pages_first(viewer, make_user, client):
    index = viewer.get(reverse("admin:index")).text

    assert index.index("Live pages") < index.index("Performance · Dashboard")
    assert URL in index

    client.force_login(make_user("bert"))

    assert URL not in client.get(reverse("admin:index")).text


def test_numbers_that_json_cannot_hold_become_ones_that_it_can():
    when = datetime(2026, 11, 24, 12, tzinfo=UTC)
    given = {"a": math.nan, 1: (math.inf, -0.5), "b": Decimal("1.10"), "c": when, "d": {2}}

    assert broadcast.plain(given) == {
        "a": None,
        "1": [None, -0.5],
        "b": "1.10",
        "c": "2026-11-24T12:00:00Z",
        "d": [2],
    }


def test_guessing_at_the_door_ends_after_the_limit(client, make_user, settings):
    settings.PERFORMANCE = {"DASHBOARD": {"wrong_logins": 2}}
    make_user("anna")
    for _ in range(2):
        client.post("/admin/login/", {"username": "anna", "password": "wrong"})
    answer = client.post("/admin/login/", {"username": "Anna", "password": PASSWORD})

    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    # Somebody else's address, or name, is not locked out.
    assert client.post("/admin/login/", {"username": "bert", "password": "x"}).status_code == 200


def test_a_successful_log_in_starts_the_count_anew(client, make_user, settings):
    settings.PERFORMANCE = {"DASHBOARD": {"wrong_logins": 2}}
    make_user("anna")
    for _ in range(3):
        given = {"username": "anna", "password": PASSWORD}
        assert client.post("/admin/login/", given).status_code == 302


def test_two_pages_cannot_have_one_slug(demo):
    class Other(pages.Page):
        slug = "demo"

    with pytest.raises(ValueError, match="Two pages are called 'demo'"):
        pages.register(Other)


def test_an_act_without_a_dotted_name_is_refused():
    with pytest.raises(ValueError, match="it looks like"):
        acts.register(acts.Act(name="Purge", title="", permission="", run=str))


class TestChecks:
    def test_what_is_registered_passes(self, demo, pressed):
        assert ours.no_inline_style() == []
        assert ours.acts_exist() == []
        assert ours.permissions_exist() == []

    def test_an_admin_that_would_write_an_inline_style_is_named(self, monkeypatch):
        model_admin = next(iter(admin.site._registry.values()))
        monkeypatch.setattr(model_admin, "actions_on_top", False)
        monkeypatch.setattr(model_admin, "actions_on_bottom", False)

        (found,) = ours.no_inline_style()

        assert found.level == checks.ERROR
        assert type(model_admin).__name__ in found.msg

    def test_an_act_that_nobody_registers_is_named(self, demo):
        assert [found.id for found in ours.acts_exist() if "demo.burn" in found.msg]

    def test_a_permission_that_nobody_declares_is_named(self, demo, monkeypatch):
        monkeypatch.setattr(Demo, "permission", "nowhere.view_nothing")

        assert "nowhere.view_nothing" in ours.permissions_exist()[0].msg
