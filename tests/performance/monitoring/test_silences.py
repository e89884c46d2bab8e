"""Silences by matcher and mute windows: whom they mean, when, who may, and that they hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from performance.core import context
from performance.dashboard.models import AuditEntry
from performance.monitoring import alerting, delivery, services, silencing, telling
from performance.monitoring.errors import AlertActRefused
from performance.monitoring.models import (
    AlertChannel,
    AlertMessage,
    AlertRule,
    AlertSilence,
    AlertState,
    MuteWindow,
)
from performance.monitoring.stepping import State

ROOT = "/api/v1/performance"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
"""A Wednesday."""


def rule_of(metric="response_time", **fields):
    return AlertRule(name="r", metric=metric, fire_at=1, clear_at=1, **fields)


def window_of(**fields):
    known = {"name": "w", "begins": time(2), "ends": time(4)}
    return MuteWindow(**known | fields)


# --- whom it means ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "metric", "subject", "meant"),
    [
        ({}, "memory", "web-1", True),
        ({"severity": "critical"}, "memory", "web-1", False),
        ({"severity": "warning"}, "memory", "web-1", True),
        ({"route": "api/*"}, "response_time", "GET api/v1/odds", True),
        ({"route": "GET api/*"}, "response_time", "GET api/v1/odds", True),
        ({"route": "POST api/*"}, "response_time", "GET api/v1/odds", False),
        ({"route": "!api/*"}, "response_time", "GET api/v1/odds", False),
        ({"route": "!api/*"}, "response_time", "GET admin/", True),
        ({"route": "api/*"}, "query_time", "api/v1/odds", True),
        ({"route": "*"}, "memory", "web-1", False),
        ({"route": "*"}, "error_budget", "6x over 6 h", False),
        ({"route": "*"}, "response_time", "", False),
        ({"node": "web-*"}, "memory", "web-1", True),
        ({"node": "web-*"}, "node_silence", "live-1", False),
        ({"node": "web-*"}, "response_time", "GET web-1", False),
        ({"node": "web-*", "severity": "critical"}, "memory", "web-1", False),
    ],
)
def test_an_alert_is_meant_when_all_filled_fields_match(fields, metric, subject, meant):
    assert silencing.matches(AlertSilence(**fields), rule_of(metric), subject) is meant


@given(st.text(max_size=30), st.sampled_from(sorted(AlertRule.Measure.values)))
@settings(max_examples=30, deadline=None)
def test_what_matches_may_match_and_nothing_filled_means_every_alert(subject, metric):
    rule = rule_of(metric)

    assert silencing.matches(AlertSilence(), rule, subject)
    for fields in ({"route": "*"}, {"node": "*"}):
        meant = silencing.matches(AlertSilence(**fields), rule, subject)
        assert not meant or silencing.may_match(AlertSilence(**fields), rule)


# --- when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "at", "until"),
    [
        ({}, (25, 3), (25, 4)),
        ({}, (25, 4), None),  # an end is no part of it
        ({}, (25, 1), None),
        ({"weekdays": "wed"}, (25, 2), (25, 4)),
        ({"weekdays": "thu"}, (25, 2), None),
        ({"begins": time(22), "ends": time(3), "weekdays": "tue"}, (25, 1), (25, 3)),
        ({"begins": time(22), "ends": time(3), "weekdays": "wed"}, (25, 1), None),
        ({"begins": time(6), "ends": time(6), "weekdays": "tue"}, (25, 5), (25, 6)),
        ({"zone": "Europe/Warsaw"}, (25, 1), (25, 3)),
        ({"zone": "Europe/Warsaw"}, (25, 3), None),
    ],
)
def test_a_window_is_open_on_its_days_between_its_hours_by_its_own_clock(fields, at, until):
    now = datetime(2026, 11, at[0], at[1], tzinfo=UTC)
    ends = None if until is None else datetime(2026, 11, until[0], until[1], tzinfo=UTC)

    assert silencing.end_of_window(window_of(**fields), now) == ends


def test_summer_time_costs_a_window_no_hour_that_exists():
    warsaw = window_of(zone="Europe/Warsaw", begins=time(1), ends=time(5))
    spring = datetime(2026, 3, 29, tzinfo=UTC)  # 02:00 becomes 03:00 in Warsaw

    assert silencing.end_of_window(warsaw, spring) == spring + timedelta(hours=3)
    assert silencing.end_of_window(warsaw, spring - timedelta(days=1)) is not None


def test_the_next_window_is_told_up_to_a_week_ahead():
    assert silencing.next_window(window_of(weekdays="wed"), NOW) == NOW.replace(
        month=12, day=2, hour=2
    )
    assert silencing.next_window(window_of(), NOW) == NOW.replace(day=26, hour=2)


def test_what_makes_no_sense_is_refused_with_its_field():
    for window, field in (
        (window_of(weekdays="noday"), "weekdays"),
        (window_of(weekdays=""), "weekdays"),
        (window_of(zone="Mars/Olympus"), "zone"),
        (window_of(zone="../etc/passwd"), "zone"),
    ):
        with pytest.raises(ValidationError) as refused:
            window.save()
        assert field in refused.value.error_dict
    for ends_at in (NOW, NOW + timedelta(days=91)):
        with pytest.raises(ValidationError) as refused:
            AlertSilence(starts_at=NOW, ends_at=ends_at).clean()
        assert "ends_at" in refused.value.error_dict


# --- that it holds ----------------------------------------------------------------------------


@pytest.fixture
def told_by_mail(db, settings):
    settings.PERFORMANCE = {
        **settings.PERFORMANCE,
        "MONITORING": {"alert_recipients": ("ops@example.org",), "group_wait_s": 0},
    }
    AlertRule.objects.all().delete()


@pytest.fixture
def make_rule(told_by_mail):
    def make(name, metric="response_time", **fields):
        made = AlertRule.objects.create(
            name=name, metric=metric, fire_at=1, clear_at=1,
            aggregate="p95" if metric == "response_time" else "value", **fields,
        )  # fmt: skip
        AlertState.objects.create(rule=made, state=State.OK)
        return made

    return make


def move(rule, after, subject="GET api/v1/odds"):
    before = State(AlertState.objects.get(rule=rule).state)
    assert alerting.keep(alerting.Change(rule, before, after, 5.0, subject, datetime.now(UTC)))


def silence(minutes=60, starts_at=None, **fields):
    wanted = {"rule": None, "route": "", "severity": "", "node": "", "reason": "a deploy"}
    return services.monitor.silence_matching(
        minutes=minutes, starts_at=starts_at, **wanted | fields
    )


def told():
    return list(AlertMessage.objects.order_by("id").values_list("event__rule__name", flat=True))


def test_a_silenced_route_is_held_back_to_the_alarms_end_though_another_gets_worse(make_rule):
    one = make_rule("API slow")
    silence(route="api/*")
    move(one, State.FIRING)
    move(one, State.RESOLVING, subject="GET admin/")
    telling.catch_up()
    assert told() == []

    move(one, State.OK, subject="GET admin/")
    move(one, State.FIRING, subject="GET admin/")
    assert told() == ["API slow"]


def test_a_planned_silence_holds_nothing_yet_and_one_that_ended_early_no_more(make_rule):
    one, two = make_rule("One"), make_rule("Two")
    silence(severity="warning", starts_at=datetime.now(UTC) + timedelta(hours=1))
    move(one, State.FIRING)
    assert told() == ["One"]

    silence(rule=two)
    move(two, State.FIRING)
    assert told() == ["One"]
    services.monitor.end_silence(AlertSilence.objects.get(rule=two))
    assert telling.catch_up() == 1
    assert told() == ["One", "Two"]
    with pytest.raises(AlertActRefused, match="over already"):
        services.monitor.end_silence(AlertSilence.objects.get(rule=two))


def test_a_planned_silence_that_is_taken_back_never_begins(make_rule):
    silence(starts_at=datetime.now(UTC) + timedelta(hours=1))
    services.monitor.end_silence(AlertSilence.objects.get())

    assert silencing.load(datetime.now(UTC) + timedelta(minutes=61)).silences == []


def test_a_mute_window_holds_while_it_is_open_and_what_still_fires_is_told_after_it(make_rule):
    window = MuteWindow.objects.create(name="Import", begins=time(0), ends=time(0))
    one = make_rule("One")
    move(one, State.FIRING)
    telling.catch_up()
    assert told() == []

    MuteWindow.objects.filter(pk=window.pk).update(enabled=False)
    assert telling.catch_up() == 1
    assert told() == ["One"]


def test_a_silence_takes_back_what_waits_to_be_sent_and_reminds_nobody(make_rule):
    one = make_rule("One")
    move(one, State.FIRING)
    silence(rule=one)

    assert delivery.deliver() == 0
    assert told() == []
    AlertState.objects.update(told=True)
    assert telling.remind() == 0
    AlertSilence.objects.update(ends_at=datetime.now(UTC))
    AlertState.objects.update(told=False)
    assert telling.catch_up() == 1
    assert delivery.deliver() == 1


def test_the_preview_names_the_rules_and_those_that_fire(make_rule):
    make_rule("Memory", metric="memory")
    move(make_rule("API slow"), State.FIRING)
    text = services.monitor.preview_silence(
        rule=None, route="api/*", severity="", node="", minutes=60, starts_at=None, reason="r"
    )

    assert "It holds back 1 rules until" in text
    assert text.endswith("API slow. Of these fire now: API slow.")
    assert not AlertSilence.objects.exists()
    with pytest.raises(AlertActRefused, match="which is past"):
        silence(starts_at=datetime.now(UTC) - timedelta(days=2))


def test_a_rules_own_silence_is_replaced_and_0_ends_it_and_no_other(make_rule):
    one = make_rule("One")
    silence(severity="warning")
    services.monitor.silence(one, 60, "first")
    services.monitor.silence(one, 30, "second")
    now = datetime.now(UTC)
    assert {one.reason for one in silencing.load(now).silences} == {"a deploy", "second"}

    services.monitor.silence(one, 0)
    assert [one.reason for one in silencing.load(datetime.now(UTC)).silences] == ["a deploy"]


# --- where it is seen -------------------------------------------------------------------------


@pytest.fixture
def staff(db):
    user = User.objects.create(username="ann", is_staff=True)
    names = ("view_alerts", "silence_alert", "acknowledge_alert")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def api(staff):
    client = Client()
    client.force_login(staff)
    return client


def post(api, path, body=None):
    return api.post(f"{ROOT}/{path}", body or {}, content_type="application/json")


def test_the_api_makes_lists_and_ends_a_silence_each_audited(api, make_rule):
    rule = make_rule("One")
    body = {"rule_id": rule.pk, "route": "api/*", "minutes": 30, "reason": "a deploy"}
    made = post(api, "silences", body)
    assert made.status_code == 200, made.content
    [row] = api.get(f"{ROOT}/silences?state=on").json()
    ended = post(api, f"silences/{row['id']}/end")
    again = post(api, f"silences/{row['id']}/end")

    assert {name: row[name] for name in ("rule", "route", "by", "reason")} == {
        "rule": "One", "route": "api/*", "by": "ann", "reason": "a deploy",
    }  # fmt: skip
    assert (ended.status_code, again.status_code) == (200, 409)
    assert again.json()["error"]["field"] == "silence_id"
    [over] = api.get(f"{ROOT}/silences?state=over").json()
    assert over["ended_by"] == "ann"
    assert set(AuditEntry.objects.values_list("act", flat=True)) == {
        "alerts.silence_matching", "alerts.end_silence",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"reason": "r"}, 400, "minutes"),
        ({"minutes": 5}, 400, "reason"),
        ({"minutes": 0, "reason": "r"}, 400, "minutes"),
        ({"minutes": 5, "reason": "r", "severity": "high"}, 400, "severity"),
        ({"minutes": 5, "reason": "r", "rule_id": 987654}, 404, "rule_id"),
        ({"minutes": 5, "reason": "r", "rule": "One"}, 400, "rule"),
        ({"minutes": 5, "reason": "r", "starts_at": "soon"}, 400, "starts_at"),
        ({"minutes": 5, "reason": "r", "starts_at": "2020-01-01T00:00Z"}, 409, "starts_at"),
    ],
)
def test_a_wrong_silence_is_refused_by_its_field(api, body, status, field):
    answer = post(api, "silences", body)

    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)
    assert not AlertSilence.objects.exists()


def test_reading_is_not_silencing(api, staff):
    staff.user_permissions.remove(Permission.objects.get(codename="silence_alert"))

    assert api.get(f"{ROOT}/silences").status_code == 200
    assert post(api, "silences", {"minutes": 5, "reason": "r"}).status_code == 403
    assert post(api, "silences/1/end").status_code == 403
    assert Client().get(f"{ROOT}/mute-windows").status_code == 401


def test_the_page_shows_silences_windows_and_what_inhibits(
    api, make_rule, django_assert_num_queries
):
    cause, consequence = make_rule("Cause"), make_rule("Consequence")
    consequence.inhibited_by.add(cause)
    move(cause, State.FIRING)
    move(consequence, State.FIRING)
    silence(severity="critical", reason="a move of the racks")
    MuteWindow.objects.create(name="Import", begins=time(0), ends=time(0), route="admin/*")
    html = api.get("/admin/performance/alerts/").content.decode()

    for text in ("a consequence of Cause", "a move of the racks", "every day 00:00 to 00:00 UTC",
                 "route admin/*", "alerts.end_silence", "open until"):  # fmt: skip
        assert text in html
    [row] = [row for row in api.get(f"{ROOT}/alerts").json() if row["name"] == "Consequence"]
    assert row["inhibited_by"] == ["Cause"]
    [window] = api.get(f"{ROOT}/mute-windows").json()
    assert (window["begins"], len(window["weekdays"]), bool(window["open_until"])) == (
        "00:00", 7, True,
    )  # fmt: skip
    with django_assert_num_queries(10):
        services.monitor.alerts()


def test_the_page_takes_two_steps_to_silence_by_matcher(api, make_rule):
    make_rule("One")
    address = "/admin/performance/acts/alerts.silence_matching/"
    given = {"route": "api/*", "minutes": 60, "reason": "r"}
    looked = api.post(address, {**given, "act_step": "look"})
    done = api.post(address, {**given, "act_step": "run"}, follow=True)

    assert "It holds back 1 rules until" in looked.content.decode()
    assert "Nobody is told of route api/*" in done.content.decode()
    assert AlertSilence.objects.get().by == "ann"


def test_the_admin_makes_a_silence_in_ones_own_name_ends_it_and_deletes_none(admin_client):
    root = "/admin/performance_monitoring/alertsilence"
    begin = datetime.now(UTC).replace(microsecond=0)
    end = begin + timedelta(hours=1)
    made = admin_client.post(
        f"{root}/add/",
        {"reason": "r", "starts_at_0": f"{begin:%Y-%m-%d}", "starts_at_1": f"{begin:%H:%M:%S}",
         "ends_at_0": f"{end:%Y-%m-%d}", "ends_at_1": f"{end:%H:%M:%S}"},
    )  # fmt: skip
    silence = AlertSilence.objects.get()
    admin_client.post(f"{root}/", {"action": "end_now", "_selected_action": [silence.pk]})

    assert made.status_code == 302
    assert silence.by == "admin"
    ended = AlertSilence.objects.get()
    assert (ended.ended_by, ended.ends_at < end) == ("admin", True)
    assert admin_client.post(f"{root}/{silence.pk}/delete/", {"post": "yes"}).status_code == 403
    assert context.actor.get() == ""


def test_the_admin_makes_a_window_by_ticking_days(admin_client):
    root = "/admin/performance_monitoring/mutewindow"
    fields = {"name": "Import", "begins": "22:00", "ends": "02:00", "zone": "Europe/Warsaw",
              "enabled": "on"}  # fmt: skip
    refused = admin_client.post(f"{root}/add/", {**fields, "weekdays": ["noday"]})
    made = admin_client.post(f"{root}/add/", {**fields, "weekdays": ["sat", "sun"]})
    window = MuteWindow.objects.get()

    assert (refused.status_code, made.status_code) == (200, 302)
    assert window.when_in_words() == "sat, sun 22:00 to 02:00 Europe/Warsaw"
    shown = admin_client.get(f"{root}/{window.pk}/change/").content.decode()
    assert shown.count("checked") == 3  # two days, and that it is enabled


def test_a_webhook_hears_nothing_of_what_is_silenced(make_rule, receiver, settings):
    settings.PERFORMANCE = {
        **settings.PERFORMANCE, "MONITORING": {"webhook_networks": ("127.0.0.0/8",)}
    }  # fmt: skip
    AlertChannel.objects.create(
        name="hook", kind="webhook", address=receiver.url, secret="a secret of our own",
        group_wait_s=0,
    )  # fmt: skip
    silence(severity="warning")
    move(make_rule("Warning"), State.FIRING)
    move(make_rule("Critical", severity="critical"), State.FIRING)
    delivery.deliver()

    [(_, body)] = receiver.got
    assert [row["rule"] for row in json.loads(body)["alerts"]] == ["Critical"]
