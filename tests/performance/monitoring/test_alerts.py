from __future__ import annotations

import smtplib
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.core import mail
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from performance.core import context
from performance.monitoring import alerting, delivery, gauging, services
from performance.monitoring.errors import AlertActRefused
from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged
from performance.monitoring.models import AlertEvent, AlertMessage, AlertRule, AlertState
from performance.monitoring.stepping import Standing, State, Thresholds, event_between, step

RULE = Thresholds(above=True, fire_at=100, clear_at=80, for_s=30, keep_firing_s=60, no_data="keep")


def run(values, rule=RULE, standing=None):
    """Step once a second; return the states and the events that people hear."""
    standing = standing or Standing()
    states, events = [], []
    for now_s, value in enumerate(values):
        after = step(rule, standing, value, float(now_s))
        events.append(event_between(standing.state, after.state))
        states.append(after.state)
        standing = after
    return states, [event for event in events if event]


def test_it_fires_only_after_the_whole_time_beyond():
    states, events = run([150] * 31)

    assert states[:30] == [State.PENDING] * 30
    assert states[30] == State.FIRING
    assert events == ["fired"]


def test_a_value_that_dips_starts_the_waiting_anew():
    assert run([150] * 29 + [90] + [150] * 29)[1] == []


def test_a_flapping_value_does_not_flap_the_alert():
    flapping = [150, 70] * 150

    assert run([150] * 31 + flapping)[1] == ["fired"]
    assert run(flapping)[1] == []


def test_between_the_thresholds_nothing_changes():
    assert run([150] * 31 + [90] * 500)[0][-1] == State.FIRING


def test_it_is_over_after_the_whole_time_well():
    states, events = run([150] * 31 + [70] * 61)

    assert states[-1] == State.OK
    assert events == ["fired", "cleared"]


def test_silence_ends_no_alert_unless_the_rule_says_so():
    keep = run([150] * 31 + [None] * 500)
    well = Thresholds(
        above=True, fire_at=100, clear_at=80, for_s=30, keep_firing_s=60, no_data="ok"
    )

    assert keep[0][-1] == State.FIRING
    assert run([150] * 31 + [None] * 61, rule=well)[1] == ["fired", "cleared"]


def test_silence_can_itself_be_an_alert():
    rule = Thresholds(
        above=True, fire_at=100, clear_at=80, for_s=5, keep_firing_s=0, no_data="alert"
    )

    assert run([50] + [None] * 6 + [50], rule=rule)[1] == ["no_data", "data_back"]


def test_below_is_the_mirror_of_above():
    rule = Thresholds(
        above=False, fire_at=0.6, clear_at=0.7, for_s=2, keep_firing_s=2, no_data="keep"
    )

    assert run([0.5, 0.5, 0.5, 0.65, 0.8, 0.8, 0.8], rule=rule)[1] == ["fired", "cleared"]


@given(st.lists(st.one_of(st.none(), st.floats(0, 200)), max_size=300))
def test_fired_and_cleared_always_alternate(values):
    _, events = run(values)

    assert events == (["fired", "cleared"] * len(events))[: len(events)]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=300))
def test_it_never_fires_without_the_whole_time_beyond(values):
    states, _ = run(values)

    for place, state in enumerate(states):
        if state == State.FIRING and states[max(place - 1, 0)] == State.PENDING:
            assert all(value > 100 for value in values[place - 30 : place + 1])


def filled(kind, key, status, seconds, n=50):
    histogram = Histogram()
    for _ in range(n):
        histogram.add(seconds)
    return Merged({(kind, key, status): histogram})


def rule_of(metric, **fields):
    return AlertRule(name="r", metric=metric, fire_at=1, clear_at=1, **fields)


def test_a_percentile_is_of_the_keys_that_match():
    window = filled("request", "GET api/v1/odds", "2xx", 0.2)
    window.add(filled("request", "GET admin/", "2xx", 3.0))

    reading = gauging.read(
        rule_of("response_time", aggregate="p95", selector="* api/*"), window, 60, {}
    )
    assert reading.value == pytest.approx(200, rel=0.022)
    assert reading.subject == "GET api/v1/odds"


def test_too_few_measurements_are_no_data_and_not_zero():
    window = filled("request", "GET a", "5xx", 0.2, n=3)

    assert gauging.read(rule_of("error_rate"), window, 60, {}).value is None
    assert gauging.read(rule_of("cache_hit_ratio"), Merged(), 60, {}).value is None


def test_error_rate_hit_ratio_memory_and_silence_are_read():
    window = filled("request", "GET a", "2xx", 0.1, n=90)
    window.add(filled("request", "GET a", "5xx", 0.1, n=10))
    window.counts |= {("cache", "board:hit"): 75, ("cache", "board:miss"): 25}
    window.gauges = {("memory", "web-1"): 5.0, ("memory", "web-2"): 9.0}

    def value(metric):
        return tuple(gauging.read(rule_of(metric), window, 60, {"web-1": 1.0, "web-2": 12.0}))

    assert value("error_rate") == (0.1, "GET a")
    assert value("cache_hit_ratio")[0] == 0.75
    assert value("memory") == (9.0, "web-2")
    assert value("node_silence") == (12.0, "web-2")


@pytest.fixture
def rule(db):
    AlertRule.objects.all().delete()
    return AlertRule.objects.create(
        name="Slow", metric="response_time", aggregate="p95", fire_at=100, clear_at=80
    )


@pytest.fixture
def recipients(settings):
    settings.PERFORMANCE = {
        **settings.PERFORMANCE,
        "MONITORING": {"alert_recipients": ("ops@example.org",), "group_wait_s": 0},
    }


def change(rule, before=State.PENDING, after=State.FIRING, value=250.0):
    return alerting.Change(rule, before, after, value, "GET a", datetime.now(UTC))


def fire(rule):
    AlertState.objects.update_or_create(rule=rule, defaults={"state": State.PENDING})
    assert alerting.keep(change(rule))


@pytest.mark.usefixtures("recipients")
def test_two_monitors_tell_nobody_twice(rule):
    fire(rule)

    assert alerting.keep(change(rule)) is False
    assert AlertEvent.objects.filter(event="fired").count() == 1
    assert AlertMessage.objects.count() == 1


@pytest.mark.usefixtures("recipients")
def test_the_message_names_value_limit_and_where_and_is_sent_once(rule):
    fire(rule)

    assert delivery.deliver() == 1
    assert delivery.deliver() == 0
    assert mail.outbox[0].to == ["ops@example.org"]
    assert "250.0 ms (GET a), above 100.0 ms" in mail.outbox[0].body


@pytest.mark.usefixtures("recipients")
def test_a_mail_server_that_is_down_loses_no_message(rule, monkeypatch):
    fire(rule)

    def refuse(self, fail_silently=False):
        raise smtplib.SMTPServerDisconnected("gone")

    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.EmailMessage.send", refuse)
        assert delivery.deliver() == 0
    message = AlertMessage.objects.get()
    assert (message.attempts, message.last_error) == (1, "gone")
    AlertMessage.objects.update(next_try_at=datetime.now(UTC) - timedelta(seconds=1))
    assert delivery.deliver() == 1


@pytest.mark.usefixtures("recipients")
def test_a_silenced_rule_is_written_down_but_tells_nobody(rule):
    services.monitor.silence(rule, 60)
    fire(rule)

    assert AlertEvent.objects.filter(event="fired").exists()
    assert not AlertMessage.objects.exists()
    with pytest.raises(AlertActRefused, match="between 0 and"):
        services.monitor.silence(rule, -1)


def test_acknowledging_names_who_and_needs_an_alert(rule):
    with pytest.raises(AlertActRefused, match="not firing"):
        services.monitor.acknowledge(rule)
    fire(rule)
    before = context.actor.set("ada")
    services.monitor.acknowledge(rule)
    context.actor.reset(before)

    assert AlertState.objects.get().acknowledged_by == "ada"
    [row] = services.monitor.alerts()["rules"]
    assert "ada" in row["taken_text"]


def test_a_watch_takes_up_where_the_last_monitor_stood(rule):
    AlertState.objects.create(
        rule=rule, state=State.PENDING, since=datetime.now(UTC) - timedelta(seconds=40)
    )
    watch = alerting.Watch()
    watch.load(now_s=1000.0)
    watch.look(lambda rule: gauging.Reading(300.0, "GET a"), now_s=1000.0)

    assert watch.save() == 1
    assert AlertState.objects.get().state == State.FIRING


def test_a_rule_that_could_never_end_is_refused_with_its_reason():
    bad = AlertRule(name="x", metric="memory", aggregate="value", fire_at=1, clear_at=2)
    with pytest.raises(ValidationError, match="could never end"):
        bad.clean()
    with pytest.raises(ValidationError, match="must be one of: p50, p95, p99, mean"):
        AlertRule(metric="response_time", aggregate="value", fire_at=1, clear_at=1).clean()


@pytest.mark.django_db
def test_the_seeded_rules_are_valid(seeded):
    rules = list(AlertRule.objects.all())

    assert len(rules) == 15
    causes = AlertRule.objects.get(name="API slow").inhibited_by
    assert {cause.name for cause in causes.all()} == {"Database slow", "Node silent"}
    for each in rules:
        each.full_clean()


def test_only_an_untouched_rule_of_slow_queries_is_sharpened(seeded):
    migration = import_module("performance.monitoring.migrations.0008_silences_and_database_rule")
    rules = AlertRule.objects.filter(name="Database slow")
    sharp = {"fire_at": 10, "clear_at": 8, "for_s": 300, "keep_firing_s": 120}
    assert rules.values(*sharp).get() == sharp

    for edited in (
        {"fire_at": 50}, {"selector": ""}, {"for_s": 60}, {"severity": "critical"},
        {"enabled": False}, {"no_data": "alert"}, {"aggregate": "p99"},
    ):  # fmt: skip
        before = migration.SEEDED | edited
        rules.update(**before)
        migration.sharpen(apps, None)
        assert rules.values(*before).get() == before
    rules.update(**migration.SEEDED)
    migration.sharpen(apps, None)
    assert rules.values(*sharp).get() == sharp


def test_a_cdn_out_of_use_is_an_alert_by_the_probes_that_found_it_so(seeded):
    rule = AlertRule.objects.get(name="CDN out of use")
    seen = Merged(counts={("edge", "probe:out"): 3, ("edge", "probe:ok"): 57})

    assert gauging.read(rule, seen, 60, {}).value == 0.05
    assert gauging.read(rule, Merged(), 60, {}).value is None
