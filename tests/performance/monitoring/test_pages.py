from __future__ import annotations

import threading

import pytest
import redis
from django.contrib.auth.models import Permission
from prometheus_client.parser import text_string_to_metric_families

from performance.core import broadcast, pages
from performance.monitoring import live, services, wire
from performance.monitoring.alerting import Watch
from performance.monitoring.exporting import MergedCollector
from performance.monitoring.merging import to_rows
from performance.monitoring.pushing import Pusher
from performance.monitoring.roller import Roller

MONITOR = "/admin/performance/monitor/"


@pytest.fixture
def staff(client, django_user_model):
    user = django_user_model.objects.create(username="ada", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_monitor", "view_alerts"])
    )
    client.force_login(user)
    return client


@pytest.fixture
def moving(make_recorder):
    """One real second of two processes on the bus, merged."""
    for node in ("web-1", "web-2"):
        recorder = make_recorder(node=node)
        for ms in range(1, 51):
            recorder.request("GET api/v1/odds", 200, ms / 1000)
        recorder.request("GET api/v1/odds", 503, 0.5)
        recorder.observe("price_age", "board", 4.0)
        recorder.count("cache", "board:hit", 9)
        recorder.count("cache", "board:miss", 1)
        recorder.observe("task", "odds.deliver", 0.05)
        recorder.flush()
    roller = Roller(Watch())
    roller.resume()
    for _ in range(2):
        roller.tick()
    return roller


@pytest.mark.django_db
def test_the_page_is_complete_without_javascript(staff, moving):
    html = staff.get(MONITOR).content.decode()

    for text in ("GET api/v1/odds", "web-1", "web-2", "odds.deliver", "90.0 %", "<polyline"):
        assert text in html


@pytest.mark.django_db
def test_the_page_says_what_is_missing_when_there_are_no_data(staff):
    answer = staff.get(MONITOR)

    assert answer.status_code == 200
    assert "No monitor has merged any second yet" in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["1h", "6h", "24h", "7d"])
def test_longer_ranges_are_shown_even_without_data(staff, name):
    assert "chosen-series" in staff.get(MONITOR, {"range": name}).content.decode()


@pytest.mark.django_db
def test_a_range_that_is_not_offered_is_named_with_those_that_are(staff):
    html = staff.get(MONITOR, {"range": "<b>9y"}).content.decode()

    assert "it must be one of: 15m, 1h, 6h, 24h, 7d" in html
    assert "<b>9y" not in html


@pytest.mark.django_db
def test_each_page_needs_its_own_permission(client, django_user_model):
    client.force_login(django_user_model.objects.create(username="bob", is_staff=True))

    assert client.get(MONITOR).status_code == 403
    assert client.get("/admin/performance/alerts/").status_code == 403


@pytest.mark.django_db
def test_the_alerts_page_lists_the_rules(staff, moving, seeded):
    html = staff.get("/admin/performance/alerts/").content.decode()

    assert "API slow" in html
    assert "No alert has ever fired." in html
    assert "alerts.silence" not in html  # its own permission, which is not given
    assert "data-may-" not in html  # by which the script knows it too


@pytest.mark.django_db
def test_what_a_viewer_may_do_with_alerts_is_told_to_the_script(staff, seeded, django_user_model):
    ada = django_user_model.objects.get(username="ada")
    ada.user_permissions.add(Permission.objects.get(codename="silence_alert"))
    html = staff.get("/admin/performance/alerts/").content.decode()

    assert html.count("data-may-silence") == 2  # of rules, and of silences
    assert "data-may-acknowledge" not in html
    assert "alerts.silence" in html


def test_changes_hold_the_newest_second_and_no_series(moving):
    changes = pages.get("monitor").changes()

    assert "series" not in changes
    assert changes["latest"]["requests"] == 102
    assert changes["minute"]["errors"] == 2
    assert len(services.monitor.overview()["series"]["times"]) == 1


def test_only_watched_pages_are_gathered_and_a_slow_one_delays_no_other(monkeypatch):
    asked, go_on = [], threading.Event()

    def slow(self):
        asked.append("monitor")
        assert go_on.wait(30)
        return {}

    monkeypatch.setattr(type(pages.get("monitor")), "changes", slow)
    monkeypatch.setattr(type(pages.get("alerts")), "changes", lambda self: asked.append("alerts"))
    monkeypatch.setattr(broadcast, "publish", lambda slug, data: 1)
    pusher = Pusher()
    assert pusher.push() == []
    broadcast.watch("monitor", "a")
    broadcast.watch("alerts", "a")
    assert sorted(pusher.push()) == ["alerts", "monitor"]
    pusher._running["alerts"][0].result(30)  # while the slow one still gathers
    assert pusher.push() == ["alerts"]
    go_on.set()
    pusher._pool.shutdown()

    assert sorted(asked) == ["alerts", "alerts", "monitor"]


def test_metrics_parse_and_add_up_over_processes(client, moving):
    series, counts = to_rows(moving.totals)
    live.write_totals(wire.Totals("1-0", series, counts, []))  # by itself each 5 s
    answer = client.get("/metrics")
    assert answer.status_code == 200

    families = {f.name: f for f in text_string_to_metric_families(answer.content.decode())}
    requests = families["protipp_request_duration_seconds"]
    count = {s.labels["status"]: s.value for s in requests.samples if s.name.endswith("_count")}
    assert count == {"2xx": 100, "5xx": 2}
    below = {
        s.labels["le"]: s.value
        for s in requests.samples
        if s.name.endswith("_bucket") and s.labels["status"] == "2xx"
    }
    assert below["0.03125"] == 62  # 1 to 31 ms, twice
    assert families["protipp_bus_up"].samples[0].value == 1


def test_metrics_are_hidden_from_those_who_come_through_the_proxy(client):
    assert client.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 404
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.9").status_code == 404


def test_metrics_with_a_token_want_the_token(client, settings):
    settings.PERFORMANCE = {**settings.PERFORMANCE, "MONITORING": {"metrics_token": "s3cret"}}

    assert client.get("/metrics").status_code == 404
    right = {"authorization": "Bearer s3cret", "x-forwarded-for": "1.2.3.4"}
    assert client.get("/metrics", headers=right).status_code == 200


def test_a_bus_that_is_away_is_told_by_the_metrics_themselves(monkeypatch):
    def away():
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(live, "read_totals", away)
    [only] = MergedCollector().collect()

    assert only.samples[0].value == 0
