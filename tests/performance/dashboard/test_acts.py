from __future__ import annotations

import secrets

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from performance.core import acts, stores
from performance.dashboard import audit, confirmation
from performance.dashboard.models import AuditEntry

from .conftest import MAY_DO, MAY_SEE, PASSWORD

pytestmark = pytest.mark.django_db


def url(name: str) -> str:
    return reverse("admin:performance_act", args=[name])


def states() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("state", flat=True))


@pytest.fixture
def staff(make_user, client, pressed):
    client.force_login(make_user("anna", MAY_DO))
    return client


def press(client, name="bell", key="", **more):
    given = {"name": name, "times": "2", "act_key": key or secrets.token_hex(16), **more}
    return client.post(url("demo.press"), given)


def test_an_act_runs_and_is_recorded_before_and_after(staff, pressed):
    before = AuditEntry.objects.count()
    answer = press(staff)

    assert pressed.calls == [("bell", 2)]
    began, done = AuditEntry.objects.order_by("number")[before:]
    assert (began.state, done.state, done.who) == ("began", "done", "anna")
    assert began.given == '{"name": "bell", "times": 2}'
    assert done.result == "Pressed bell 2 times."
    assert "Pressed bell 2 times." in staff.get(answer.url).text


def test_a_double_click_runs_once_and_shows_the_first_result(staff, pressed):
    key = secrets.token_hex(16)

    first, second = press(staff, key=key), press(staff, key=key)

    assert pressed.calls == [("bell", 2)]
    assert first.url == second.url


def test_a_key_of_another_act_or_person_is_refused(staff, pressed, make_user):
    key = secrets.token_hex(16)
    press(staff, key=key)
    other = Client()
    other.force_login(make_user("bert", MAY_DO))

    assert press(other, key=key).status_code == 409
    assert staff.post(url("demo.burn"), {"act_key": key}).status_code == 409
    assert press(staff, key="not a key").status_code == 400
    assert pressed.calls == [("bell", 2)]


def test_a_link_fills_the_form_and_looks_ahead_without_doing_anything(staff, pressed):
    page = staff.get(url("demo.press"), {"name": "bell", "times": 3, "back": "/admin/"}).text

    assert "bell would be pressed 3 times." in page
    assert pressed.calls == []


def test_a_wrong_value_names_the_field_and_does_nothing(staff, pressed):
    answer = press(staff, times="77")

    assert answer.status_code == 400
    assert "less than or equal to 9" in answer.text
    assert pressed.calls == []


def test_a_known_failure_is_shown_and_recorded(staff):
    before = len(states())
    answer = press(staff, name="stuck", headers={})

    assert "Oil it." in staff.get(answer.url).text
    assert states()[before:] == ["began", "failed"]


def test_an_unknown_failure_is_recorded_and_goes_on_up(staff):
    before = len(states())
    with pytest.raises(RuntimeError, match="no such wire"):
        press(staff, name="broken")

    assert states()[before:] == ["began", "failed"]


def test_an_act_that_cannot_be_recorded_is_not_run(staff, pressed, monkeypatch):
    def full(*args, **kwargs):
        raise OperationalError("could not extend file: No space left on device")

    monkeypatch.setattr(audit, "append", full)
    answer = press(staff)

    assert answer.status_code == 503
    assert "was not run" in answer.text
    assert pressed.calls == []


def test_a_script_gets_json(staff):
    answer = staff.post(
        url("demo.press"), {"name": "bell", "times": 1}, headers={"Accept": "application/json"}
    )

    assert answer.json() == {"ok": True, "message": "Pressed bell 1 times.", "ended": True}


class TestDangerous:
    def test_it_runs_when_the_log_in_is_young(self, staff, pressed):
        staff.post(url("demo.burn"))

        assert pressed.calls == [("burn", 1)]

    def test_it_asks_for_the_password_when_the_log_in_is_old(self, staff, pressed):
        self.grow_old(staff)

        assert "Your password" in staff.get(url("demo.burn")).text
        assert staff.post(url("demo.burn")).status_code == 403
        assert staff.post(url("demo.burn"), {"act_password": "wrong"}).status_code == 403
        assert pressed.calls == []
        assert staff.post(url("demo.burn"), {"act_password": PASSWORD}).status_code == 302
        assert pressed.calls == [("burn", 1)]

    def test_guessing_the_password_ends_after_five(self, staff, pressed):
        self.grow_old(staff)
        for _ in range(5):
            staff.post(url("demo.burn"), {"act_password": "wrong"})

        answer = staff.post(url("demo.burn"), {"act_password": PASSWORD})

        assert "Too many wrong passwords" in answer.text
        assert pressed.calls == []

    @staticmethod
    def grow_old(client):
        session = client.session
        session[confirmation.CONFIRMED_AT] -= 16 * 60
        session.save()


def test_acts_a_minute_are_limited(staff, pressed, settings):
    settings.PERFORMANCE = {"DASHBOARD": {"acts_per_minute": 3}}
    for _ in range(3):
        press(staff)
    answer = press(staff)

    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert len(pressed.calls) == 3


def test_the_limit_holds_without_a_bus(staff, pressed, settings, monkeypatch):
    settings.PERFORMANCE = {"DASHBOARD": {"acts_per_minute": 3}}
    monkeypatch.setattr(stores, "bus", dead_bus)
    monkeypatch.setattr("performance.core.limits._local", {})
    answers = [press(staff).status_code for _ in range(4)]

    assert answers == [302, 302, 302, 429]


def dead_bus():
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(port=1, retry=Retry(NoBackoff(), 0))


def test_a_post_without_its_token_is_refused(make_user, pressed):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("anna", MAY_DO))

    assert press(client).status_code == 403
    assert pressed.calls == []


# --- every act that is registered, for everyone who may not ------------------------------------

NOBODIES = ["anonymous", "user", "staff without", "staff with all others", "inactive superuser"]


@pytest.mark.parametrize("who", NOBODIES)
def test_no_act_runs_for_those_who_may_not(who, make_user, pressed, monkeypatch):
    ran = []
    for act in acts.all_acts():
        monkeypatch.setitem(acts._acts, act.name, spied(act, ran))
    for act in acts.all_acts():
        client = Client()
        user = nobody(who, act.permission, make_user)
        if user is not None:
            client.force_login(user)
        before = AuditEntry.objects.count()
        answer = client.post(url(act.name), {"act_key": secrets.token_hex(16)})

        assert answer.status_code in (302, 403), act.name
        signed_in = who not in ("anonymous", "inactive superuser")
        assert AuditEntry.objects.count() - before == (1 if signed_in else 0)
        if user is not None:
            user.delete()
    assert ran == []


def spied(act, ran):
    from dataclasses import replace

    return replace(act, run=lambda **values: ran.append(act.name) or "ran")


def nobody(who, permission, make_user):
    if who == "anonymous":
        return None
    if who == "user":
        return make_user("ulla", permission, is_staff=False)
    if who == "inactive superuser":
        return make_user("ida", is_superuser=True, is_active=False)
    user = make_user("stan", MAY_SEE)
    if who == "staff with all others":
        app, codename = permission.split(".")
        user.user_permissions.set(
            Permission.objects.exclude(content_type__app_label=app, codename=codename)
        )
    return user
