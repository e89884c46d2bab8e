"""What the monitor's page shows for an address, and every table of it as a file."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from performance.dashboard import exports
from performance.monitoring import alerting, history, partitions, reads, rollups, screens, wire
from performance.monitoring.errors import RangeUnknown
from performance.monitoring.heatmap import heatmap
from performance.monitoring.histogram import Histogram
from performance.monitoring.merging import Merged
from performance.monitoring.models import Deploy, SampleStatement
from performance.monitoring.roller import Roller

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
PAGE = "/admin/performance/monitor/"


def merged(n=60, ms=20, endpoint="GET /"):
    found = Merged()
    row = found.series[("request", endpoint, "2xx")] = Histogram()
    row.add_all([ms / 1000] * n)
    found.series[("sql", endpoint.partition(" ")[2], "ok")] = Histogram()
    found.series[("sql", endpoint.partition(" ")[2], "ok")].add_all([0.002] * n * 2)
    found.counts[("memory_growth", endpoint)] = 4096
    return found


@pytest.fixture
def minutes(db):
    """Last week's minutes and this week's, with three slow requests of two people."""
    rollups.state()
    last_id = "0-0"
    for number, at in enumerate(
        [NOW - timedelta(days=7, minutes=m) for m in range(9, 0, -1)]
        + [NOW - timedelta(minutes=m) for m in range(9, 0, -1)]
    ):
        minute = rollups.Minute(at)
        slow = wire.SlowRequest(
            "GET /", 500 if number == 17 else 200, 100.0, 40.0, 3, 10.0, 7 + number % 2,
            f"{number % 2}" * 16, "", 20.0, 5.0, [("f1", 10, 30.0), ("f2", 1, 10.0)],
        )  # fmt: skip
        minute.statements = {"f1": "SELECT one", "f2": "SELECT two", "f3": "of none that was kept"}
        minute.add(merged(), [("web-1", slow)], f"{number + 1}-0")
        rollups.write_minute(minute, expected_id=last_id, newest=rollups.BEGINNING)
        last_id = f"{number + 1}-0"


@pytest.fixture
def client(db):
    user = User.objects.create(username="ann", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_monitor"))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.usefixtures("minutes")
def test_an_endpoints_page_says_where_its_time_goes():
    found = screens.choose({"endpoint": "GET /", "range": "1h"})

    assert found["whole"]["requests"] == 9 * 60
    assert found["whole"]["queries_a_request"] == 2
    assert found["whole"]["grown_bytes"] == 9 * 4096
    split = {row["part"]: row["mean_ms"] for row in found["split"]}
    assert split == {"sql": 40.0, "cache": 10.0, "http": 20.0, "render": 5.0, "other": 25.0}
    assert {row["route"] for row in found["samples"]} == {"GET /"}
    assert screens.choose({"endpoint": "GET /never"})["whole"]["requests"] == 0


@pytest.mark.usefixtures("minutes")
def test_an_endpoints_page_shows_its_statements_the_costliest_first(client):
    found = screens.choose({"endpoint": "GET /", "range": "1h"})

    assert [
        (row["sql"], row["times"], row["mean_ms"], row["share"]) for row in found["statements"]
    ] == [("SELECT one", 10, 30.0, 0.75), ("SELECT two", 1, 10.0, 0.25)]
    assert found["kept_requests"] == 9
    html = client.get(f"{PAGE}?endpoint=GET%20/&range=1h").content.decode()
    assert html.index("SELECT one") < html.index("SELECT two")
    assert screens.choose({"endpoint": "GET /other"})["statements"] == []


@pytest.mark.usefixtures("minutes")
def test_the_text_of_a_statement_is_stored_once_and_goes_after_its_requests():
    texts = SampleStatement.objects.order_by("fingerprint")
    assert list(texts.values_list("sql", "seen_on")) == [
        ("SELECT one", (NOW - timedelta(minutes=1)).date()),
        ("SELECT two", (NOW - timedelta(minutes=1)).date()),
    ]

    rollups.prune(NOW + timedelta(days=13))
    assert texts.count() == 2
    rollups.prune(NOW + timedelta(days=17))
    assert texts.count() == 0


@pytest.mark.usefixtures("minutes")
def test_users_and_sessions_hit_most_come_first():
    found = screens.choose({})

    waited_ms = [row["waited_ms"] for row in found["users"]]
    assert waited_ms == sorted(waited_ms, reverse=True) == [500.0, 400.0]
    assert sum(row["requests"] for row in found["sessions"]) == 9
    assert sum(row["failed"] for row in found["users"]) == 1


@pytest.mark.usefixtures("minutes")
def test_last_week_stands_beside_this_one_at_the_same_time():
    series = screens.choose({"range": "1h", "compare": "week"})["series"]

    assert series["week_per_second"] == series["per_second"] == [1.0] * 9


@pytest.mark.usefixtures("minutes")
def test_a_zoom_reads_just_that_and_nonsense_is_named():
    begin = NOW - timedelta(minutes=6)
    zoomed = screens.choose(
        {"from": str(begin.timestamp()), "to": str((begin + timedelta(minutes=5)).timestamp())}
    )
    by_hand = screens.choose({"from": f"{begin:%Y-%m-%dT%H:%M}", "to": f"{NOW:%Y-%m-%dT%H:%M}"})

    assert sum(zoomed["series"]["per_second"]) == 5
    assert sum(by_hand["series"]["per_second"]) == 6
    assert "yesterday" in screens.choose({"from": "yesterday", "to": "now"})["notice"]
    with pytest.raises(RangeUnknown, match="90 days at most"):
        history.zoomed("1600000000", str(NOW.timestamp()), NOW)


def test_a_deploy_is_marked_where_it_was(db):
    Deploy.objects.create(build="v7", at=NOW - timedelta(minutes=3))

    assert [row["build"] for row in screens.choose({})["deploys"]] == ["v7"]
    assert screens.choose({"from": "2026-01-01", "to": "2026-01-02"})["deploys"] == []


def test_the_heat_map_shows_two_humps_where_a_percentile_shows_one():
    part = merged(90, ms=10)
    part.add(merged(10, ms=900))
    found = heatmap({NOW: part}, NOW - timedelta(minutes=1), NOW + timedelta(minutes=1))

    assert [(cell["count"], cell["slow"]) for cell in found["cells"]] == [(90, False), (10, True)]
    assert found["text"] == "100 requests, 10.0% of them slower than 125 ms."
    assert heatmap({}, NOW, NOW + timedelta(minutes=1))["text"] == "No request was measured."


@pytest.mark.usefixtures("minutes")
@pytest.mark.parametrize("name", ["endpoints", "samples", "users", "sessions"])
def test_every_table_is_there_as_csv_and_json_with_the_pages_query(client, name):
    page = client.get(f"{PAGE}?range=1h").content.decode()
    as_csv = client.get(f"{PAGE}tables/{name}.csv?range=1h")
    as_json = client.get(f"{PAGE}tables/{name}.json?range=1h")

    assert f"{PAGE}tables/{name}.csv?range=1h" in page
    rows = list(csv.DictReader(io.StringIO(as_csv.content.decode())))
    assert len(rows) == len(as_json.json()) > 0
    assert list(rows[0]) == list(as_json.json()[0])
    assert f'filename="monitor-{name}.csv"' in as_csv["Content-Disposition"]


def test_a_table_that_is_not_there_and_those_who_may_not_see_are_refused(client):
    assert client.get(f"{PAGE}tables/nothing.csv").status_code == 404
    assert client.get(f"{PAGE}tables/endpoints.xls").status_code == 404
    assert client.get("/admin/performance/alerts/tables/rules.csv").status_code == 403


def test_no_cell_is_a_formula_to_a_spreadsheet():
    answer = exports.as_csv([{"a": "=1+1", "b": -5, "c": None, "d": "@x", "e": ["y"]}], "t.csv")

    line = answer.content.decode().splitlines()[1]
    assert line == '\'=1+1,-5,,\'@x,"[""y""]"'


def test_ninety_days_of_hours_are_read_within_a_web_nodes_time(db, django_assert_num_queries):
    hour = NOW.replace(minute=0)
    keys = [("request", f"GET page/{n}/", "2xx") for n in range(5)]
    ids = rollups.series_ids(keys)
    for day in range(1, 90, 10):
        at = hour - timedelta(days=day)
        partitions.ensure(partitions.HOURS, at)
        rollups._copy(
            "performance_monitoring_metrichour (series_id, at, n, total, greatest, buckets)",
            ((ids[key], at, 10, 1000, 200, '{"-100": 10}') for key in keys),
        )
    with django_assert_num_queries(6 + 1):
        span = history.span(NOW - timedelta(days=90), NOW)

    assert span.whole.of_kind("request").n == 9 * 5 * 10
    assert reads.read(NOW, NOW, hours=True) == {}


@pytest.mark.django_db
def test_the_minute_that_runs_is_in_every_range_and_counts_once(make_recorder):
    recorder = make_recorder()
    recorder.request("GET /", 200, 0.02)
    recorder.request("GET /other/", 200, 0.02)
    recorder.flush()
    roller = Roller(alerting.Watch())
    assert roller.tick() == 1

    assert screens.choose({"range": "1h", "endpoint": "GET /"})["whole"]["requests"] == 1
    whole = screens.choose({"range": "1h"})
    assert sum(row["requests"] for row in whole["endpoints"]) == 2
    rollups.state()
    rollups.write_minute(roller._minute, expected_id="0-0", newest=rollups.BEGINNING)
    again = screens.choose({"range": "1h"})
    assert sum(row["requests"] for row in again["endpoints"]) == 2
