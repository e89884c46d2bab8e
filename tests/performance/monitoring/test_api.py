"""`/api/v1/performance/`: for staff and for tokens, in the API's one shape of errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from performance.core import signals
from performance.core.stores import bus
from performance.dashboard.models import AuditEntry
from performance.monitoring import rollups, tokens, wire
from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged
from performance.monitoring.models import AlertRule, AlertSilence, ApiToken

ROOT = "/api/v1/performance"
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def staff(db):
    user = User.objects.create(username="ann", is_staff=True)
    names = ("view_monitor", "view_alerts", "acknowledge_alert", "silence_alert")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def api(staff):
    """Ask as a program with a token that may act."""
    token = tokens.issue(name="test", user=staff, may_act=True, days=1)
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def minutes(db):
    """Five minutes of two endpoints, and three requests of somebody."""
    for back in range(5, 0, -1):
        merged = Merged()
        for endpoint, status, ms, n in (
            ("GET /", "2xx", 10, 60),
            ("GET api/v1/odds", "2xx", 100, 9),
            ("GET api/v1/odds", "5xx", 500, 1),
        ):
            row = merged.series.setdefault(("request", endpoint, status), Histogram())
            row.add_all([ms / 1000] * n)
        minute = rollups.Minute(NOW - timedelta(minutes=back))
        merged.gauges["memory", "web-1"] = 1000
        slow = wire.SlowRequest("GET /", 200, 70.0 + back, 1.0, 1, 2.0, 7, "a" * 16, "")
        minute.add(merged, [("web-1", slow)], f"{6 - back}-0")
        rollups.state()
        expected = f"{5 - back}-0"
        rollups.write_minute(minute, expected_id=expected, newest=rollups.BEGINNING)


def error(answer):
    return answer.json()["error"]


def test_a_page_of_metrics_has_the_models_shape_and_the_next_page_goes_on(api, minutes):
    seen, cursor = [], ""
    for _ in range(20):
        answer = api.get(f"{ROOT}/metrics?limit=7" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status_code == 200, answer.content
        seen += answer.json()["metrics"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break

    assert len(seen) == 5 * (2 * 3 + 1)
    assert len({row["id"] for row in seen}) == len(seen)
    assert [row["timestamp"] for row in seen] == sorted(
        (row["timestamp"] for row in seen), reverse=True
    )
    assert set(seen[0]) == {
        "id", "metric_type", "value", "unit", "timestamp", "endpoint", "user_id", "session_id",
    }  # fmt: skip
    failing = [r for r in seen if r["metric_type"] == "error_rate" and "odds" in r["endpoint"]]
    assert [row["value"] for row in failing] == [0.1] * 5


def test_metrics_of_a_user_are_single_requests_with_user_and_session(api, minutes):
    pages = api.get(f"{ROOT}/metrics?user_id=7&limit=3").json()
    rest = api.get(f"{ROOT}/metrics?user_id=7&limit=3&cursor={pages['next_cursor']}").json()

    rows = pages["metrics"] + rest["metrics"]
    assert [row["value"] for row in rows] == [71.0, 72.0, 73.0, 74.0, 75.0]
    assert {(row["user_id"], row["session_id"]) for row in rows} == {(7, "a" * 16)}
    assert rest["next_cursor"] is None


def test_summary_and_series_agree_about_the_range(api, minutes):
    summary = api.get(f"{ROOT}/summary?range=1h").json()
    series = api.get(f"{ROOT}/series?range=1h").json()
    one = api.get(f"{ROOT}/series?range=1h&endpoint=GET%20api/v1/odds").json()

    assert (summary["requests"], summary["errors"]) == (350, 5)
    assert sum(rate * 60 for rate in series["per_second"]) == pytest.approx(350, abs=1)
    assert sum(rate * 60 for rate in one["per_second"]) == pytest.approx(50, abs=1)
    assert [row["endpoint"] for row in summary["endpoints"]] == ["GET api/v1/odds", "GET /"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/metrics?metric_type=speed", "metric_type"),
        ("/metrics?limit=0", "limit"),
        ("/metrics?limits=5", "limits"),
        ("/metrics?cursor=nonsense", "cursor"),
        ("/metrics?cursor=WzEsMl0", "cursor"),
        ("/metrics?from=yesterday", "from"),
        ("/metrics?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("/metrics?user_id=-1", "user_id"),
        ("/metrics?session_id=xyz", "session_id"),
        ("/metrics?user_id=1&metric_type=throughput", "metric_type"),
        ("/summary?range=2h", "range"),
        ("/series?endpoint=%00", "endpoint"),
        ("/alerts?state=red", "state"),
    ],
)
def test_wrong_input_is_refused_with_its_name(api, path, field):
    answer = api.get(ROOT + path)

    assert answer.status_code == 400
    assert error(answer)["field"] == field
    assert error(answer)["message"]
    assert answer["Cache-Control"] == "no-store"


def test_strangers_and_those_without_the_permission_get_nothing(db, staff):
    client = Client()
    assert client.get(f"{ROOT}/metrics").status_code == 401
    assert client.get(f"{ROOT}/metrics", headers={"Authorization": "Bearer x"}).status_code == 401
    assert client.get(f"{ROOT}/metrics", headers={"Authorization": "Basic x"}).status_code == 401

    client.force_login(User.objects.create(username="bob", is_staff=True))

    assert client.get(f"{ROOT}/alerts").status_code == 403
    client.force_login(staff)
    assert client.get(f"{ROOT}/metrics").status_code == 200


def test_a_token_ends_with_its_time_its_user_and_its_scope(db, staff, seeded):
    token = tokens.issue(name="reader", user=staff, may_act=False, days=1)
    client = Client(headers={"Authorization": f"Bearer {token}"})
    rule = AlertRule.objects.first()

    assert client.get(f"{ROOT}/alerts").status_code == 200
    assert client.post(f"{ROOT}/alerts/{rule.pk}/silence").status_code == 403
    assert not ApiToken.objects.filter(digest=token).exists()
    ApiToken.objects.update(expires_at=NOW - timedelta(days=1))
    assert client.get(f"{ROOT}/alerts").status_code == 401
    ApiToken.objects.update(expires_at=NOW + timedelta(days=1))
    User.objects.update(is_staff=False)
    assert client.get(f"{ROOT}/alerts").status_code == 401


def test_the_command_prints_a_token_once_and_names_what_is_wrong(staff, capsys):
    call_command("make_api_token", "grafana", "--user", "ann")

    token = capsys.readouterr().out.strip()
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.get(f"{ROOT}/summary").status_code == 200
    with pytest.raises(CommandError, match="grafana"):
        call_command("make_api_token", "grafana", "--user", "ann")
    with pytest.raises(CommandError, match="nobody"):
        call_command("make_api_token", "other", "--user", "nobody")


def test_acts_on_alerts_are_audited_and_need_a_csrf_token_from_a_session(api, staff, seeded):
    rule = AlertRule.objects.first()
    silenced = api.post(
        f"{ROOT}/alerts/{rule.pk}/silence", {"minutes": 30}, content_type="application/json"
    )
    refused = api.post(f"{ROOT}/alerts/{rule.pk}/acknowledge", content_type="application/json")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(staff)
    forged = browser.post(f"{ROOT}/alerts/{rule.pk}/acknowledge")

    assert silenced.status_code == 200, silenced.content
    assert AlertSilence.objects.get(rule=rule).by == "ann"
    assert refused.status_code == 409
    assert forged.status_code == 403
    assert error(forged)["field"] == "X-CSRFToken"
    acts = AuditEntry.objects.filter(act="alerts.silence").order_by("number")
    assert [entry.state for entry in acts] == ["began", "done"]
    unknown = api.post(f"{ROOT}/alerts/987654/silence", content_type="application/json")
    assert (unknown.status_code, error(unknown)["field"]) == (404, "alert_id")


# --- web vitals -------------------------------------------------------------------------------


@pytest.fixture
def noted(monkeypatch, make_recorder):
    recorder = make_recorder()
    monkeypatch.setattr(signals, "recorder", recorder)
    return lambda: {key[1]: row for key, row in recorder._durations.swap()[0].items()}


def report(body, **headers):
    return Client().post(f"{ROOT}/vitals", body, content_type="application/json", headers=headers)


GOOD = {
    "path": "/events/0123/",
    "vitals": [{"name": "LCP", "value": 1200}, {"name": "CLS", "value": 0.02}],
}


def test_a_visitors_vitals_are_kept_by_route_and_never_by_visitor(noted, db):
    answer = report(GOOD)

    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert set(noted()) == {"LCP events/<key>/", "CLS events/<key>/"}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**GOOD, "user": "ann"}, 400, "user"),
        ({**GOOD, "path": "/no/such/page"}, 400, "path"),
        ({**GOOD, "path": "/admin/"}, 400, "path"),
        ({**GOOD, "path": "/?secret=1"}, 400, "path"),
        ({"path": "/", "vitals": []}, 400, "vitals"),
        ({"path": "/", "vitals": [{"name": "FID", "value": 1}]}, 400, "vitals.0.name"),
        ({"path": "/", "vitals": [{"name": "LCP", "value": -1}]}, 400, "vitals.0.value"),
        ({"path": "/", "vitals": [{"name": "LCP", "value": 1e9}]}, 400, "vitals.0.value"),
        ("[1]", 400, "body"),
        ("{", 400, "body"),
        ('{"path": "/", "vitals": [{"name": "LCP", "value": NaN}]}', 400, "vitals.0.value"),
        ("x" * 5000, 413, "body"),
    ],
)
def test_a_wrong_report_is_refused_with_its_name(noted, db, body, status, field):
    answer = report(body if isinstance(body, str) else json.dumps(body))

    assert (answer.status_code, error(answer)["field"]) == (status, field)
    assert noted() == {}


def test_reports_from_other_sites_and_too_many_are_refused(noted, db):
    assert report(GOOD, origin="https://evil.example").status_code == 403
    assert report(GOOD, sec_fetch_site="cross-site").status_code == 403

    answers = [report(GOOD).status_code for _ in range(61)]

    assert answers == [202] * 60 + [429]
    addresses = [key for key in bus().keys("limits:*") if b"127.0.0.1" in key]
    assert addresses == []


def test_it_is_all_on_the_one_openapi_page(db):
    paths = Client().get("/api/openapi.json").json()["paths"]

    ours = {path for path in paths if path.startswith(ROOT)}
    assert ours == {
        f"{ROOT}/{name}"
        for name in (
            "metrics", "summary", "series", "vitals", "alerts",
            "alerts/{alert_id}/acknowledge", "alerts/{alert_id}/silence",
            "silences", "silences/{silence_id}/end", "mute-windows",
        )
    }  # fmt: skip
    assert "/api/v1/odds" in paths
