"""Rules that look further than a minute: error budgets, what is usual, and the preview."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from performance.monitoring import burning, partitions, previewing, rollups, usual
from performance.monitoring.gauging import Reading
from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged
from performance.monitoring.models import AlertRule

MINUTE_S = 60
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def budget_rule(**fields):
    return AlertRule(
        name="b", metric="error_budget", objective=0.99, fire_at=1, clear_at=1, **fields
    )


def requests(good, bad, *, ms=10):
    merged = Merged()
    for status, n in (("2xx", good), ("5xx", bad)):
        if n:
            row = merged.series[("request", "GET /", status)] = Histogram()
            row.add_all([ms / 1000] * n)
    return merged


def burnt(minutes, rule=None):
    """The reading after these (good, bad) minutes."""
    rule = rule or budget_rule()
    budget = burning.Budget()
    for at, (good, bad) in enumerate(minutes):
        budget.add(at * MINUTE_S, *burning.judge(rule, requests(good, bad)))
    return budget._read(rule, (len(minutes) - 1) * MINUTE_S)


def test_a_burn_fires_when_both_windows_burn_and_stops_soon_after_the_cause():
    hour = [(100, 0)] * 55
    outage = [(70, 30)] * 40  # 30 % bad of an allowance of 1 %

    assert burnt(hour).value == 0
    during = burnt(hour + outage)
    assert during.value > 1
    assert during.subject == "6x over 6 h"
    assert burnt(hour + outage + [(100, 0)] * 6).value < burnt(hour + outage).value
    assert burnt(hour + outage + [(100, 0)] * 31).value < 1


def test_a_slow_burn_needs_days_and_is_another_rule():
    slow = budget_rule(burn="slow")
    leaking = [(98, 2)] * 60 * 30  # twice the allowance, for thirty hours

    assert burnt(leaking).value < 1
    assert burnt(leaking, slow).value == pytest.approx(2, rel=0.01)


def test_slower_than_the_limit_is_bad_too():
    rule = budget_rule(slow_ms=100)

    assert burning.judge(rule, requests(10, 0, ms=50)) == (0, 10)
    assert burning.judge(rule, requests(10, 5, ms=150)) == (15, 15)


def test_too_little_is_no_burn():
    assert burnt([(3, 3)]).value is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=400))
@settings(max_examples=30, deadline=None)
def test_a_burn_is_never_more_than_everything_bad(minutes):
    value = burnt(minutes).value

    assert value is None or 0 <= value <= 100 / 6 + 1e-9


def test_what_is_usual_is_not_moved_by_a_wild_day_and_too_little_is_none():
    assert usual.band([10, 11, 9, 10, 12]) is None
    band = usual.band([10, 11, 9, 10, 12, 10, 500])

    assert band.middle == 10
    assert band.distance(10) == 0
    assert band.distance(30) > 8
    assert usual.band([0] * 10).distance(0) == 0


@pytest.mark.django_db
def test_a_value_is_told_in_deviations_from_the_same_hour_of_past_weeks():
    hour = usual.start_of_hour(datetime.now(UTC))
    for week in range(1, 7):
        at = hour - timedelta(weeks=week)
        partitions.ensure(partitions.HOURS, at)
        merged = requests(1000 + week, 0, ms=20)
        rows = [(key, row.n, row.sum_us, row.max_us, row.buckets)
                for key, row in merged.series.items()]  # fmt: skip
        store_hour(at, rows)
    rule = AlertRule.objects.create(
        name="u", metric="response_time", aggregate="p95", basis="week", fire_at=8, clear_at=5
    )
    watched = usual.Usual()
    watched.follow({rule.pk: rule})

    assert abs(watched.reading(rule, Reading(20.0, "GET /"), hour).value) < 1
    assert watched.reading(rule, Reading(60.0, "GET /"), hour).value > 8
    assert watched.reading(rule, Reading(None, ""), hour).value is None


def store_hour(at, rows):
    ids = rollups.series_ids([row[0] for row in rows])
    rollups._copy(
        "performance_monitoring_metrichour (series_id, at, n, total, greatest, buckets)",
        (
            (ids[key], at, n, total, top, json.dumps(buckets))
            for key, n, total, top, buckets in rows
        ),
    )


@pytest.fixture
def a_day(db):
    """The last day: three times slow for ten minutes, and silent for hours in between."""
    rollups.state()
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=20)
    slow = {*range(60, 70), *range(200, 210), *range(400, 410)}
    last_id, newest = "0-0", rollups.BEGINNING
    for n in (*range(50, 80), *range(195, 220), *range(395, 420)):
        minute = rollups.Minute(begin + timedelta(minutes=n))
        minute.add(requests(50, 0, ms=300 if n in slow else 10), [], f"{n + 1}-0")
        newest = rollups.write_minute(minute, expected_id=last_id, newest=newest)
        last_id = f"{n + 1}-0"


RULE = {
    "name": "API slow", "metric": "response_time", "aggregate": "p95", "comparison": "above",
    "fire_at": "100", "clear_at": "80", "for_s": "60", "keep_firing_s": "60", "no_data": "ok",
    "severity": "warning", "basis": "value", "burn": "fast", "enabled": "on", "selector": "",
}  # fmt: skip


@pytest.mark.usefixtures("a_day")
def test_the_preview_says_how_often_a_rule_would_have_fired_and_saves_nothing(admin_user):
    client = Client()
    client.force_login(admin_user)
    AlertRule.objects.all().delete()
    answer = client.post("/admin/performance_monitoring/alertrule/preview/", RULE)

    assert answer.status_code == 200
    text = answer.content.decode()
    assert "it would have fired 3 times" in text
    assert not AlertRule.objects.exists()
    calm = client.post(
        "/admin/performance_monitoring/alertrule/preview/", {**RULE, "fire_at": "1000"}
    )
    assert "would not have fired" in calm.content.decode()
    wrong = client.post(
        "/admin/performance_monitoring/alertrule/preview/", {**RULE, "clear_at": "500"}
    )
    assert "could never end" in wrong.content.decode()


def test_the_preview_needs_the_permission_to_change_rules(db):
    client = Client()
    client.force_login(User.objects.create(username="bob", is_staff=True))

    assert client.post("/admin/performance_monitoring/alertrule/preview/", RULE).status_code == 403


@pytest.mark.django_db
def test_what_cannot_be_previewed_says_so():
    silence = AlertRule(name="s", metric="node_silence", fire_at=5, clear_at=3)
    found = previewing.preview(silence)

    assert "no preview" in found.in_words()
    nothing = previewing.preview(AlertRule(name="m", metric="memory", fire_at=5, clear_at=3))
    assert "Nothing that it watches" in nothing.in_words()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"metric": "error_budget", "objective": None}, "objective"),
        ({"metric": "error_budget", "objective": 99.9}, "objective"),
        ({"metric": "error_budget", "objective": 0.99, "basis": "week"}, "basis"),
        ({"metric": "error_budget", "objective": 0.99, "slow_ms": -1}, "slow_ms"),
        ({"metric": "node_silence", "basis": "week"}, "basis"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_its_field(fields, wrong):
    with pytest.raises(ValidationError) as refused:
        AlertRule(name="x", fire_at=1, clear_at=1, **fields).clean()
    assert wrong in refused.value.error_dict
