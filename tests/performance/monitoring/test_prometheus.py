"""What Prometheus makes of us: its own tools and its own server are asked."""

from __future__ import annotations

import datetime
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.core.wsgi import get_wsgi_application

from performance.monitoring import alerting, alertmanager, deploying, native, promql
from performance.monitoring.histogram import Histogram
from performance.monitoring.models import AlertRule, MuteWindow
from performance.monitoring.roller import Roller
from tests.conftest import program

pytestmark = pytest.mark.timed

DEPLOY = django_settings.BASE_DIR / "deploy"


@pytest.mark.usefixtures("seeded")
def test_the_files_in_deploy_are_those_of_the_seeded_rules(tmp_path):
    call_command("export_rules", "--check")

    AlertRule.objects.filter(name="API slow").update(fire_at=250)
    with pytest.raises(CommandError, match=r"prometheus/rules\.yml"):
        call_command("export_rules", "--check")
    call_command("export_rules", "--folder", str(tmp_path))
    assert "> 250" in (tmp_path / "prometheus" / "rules.yml").read_text()


def test_promtool_takes_the_rules_and_grafana_gets_json():
    checked = subprocess.run(
        [program("promtool"), "check", "rules", DEPLOY / "prometheus" / "rules.yml"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "45 rules found" in checked.stdout + checked.stderr
    board = json.loads((DEPLOY / "grafana" / "protipp.json").read_text())
    assert {"API slow", "Node silent"} <= {panel["title"] for panel in board["panels"]}


def test_a_rule_that_promql_cannot_say_says_why():
    mixed = AlertRule(name="m", metric="error_rate", selector="GET a, POST b", fire_at=1)

    with pytest.raises(promql.Unsayable, match="mixes methods"):
        promql.expression(mixed)


WEEKS_OF_LOAD = """
rule_files: [rules.yml]
evaluation_interval: 30m
tests:
  - interval: 1m
    input_series:
      - series: protipp_request_duration_seconds_count{method="GET", route="api", status="2xx"}
        values: "0+60x25200 1512000+1200x60"
    alert_rule_test:
      - {eval_time: 17d8h, alertname: Load unusual, exp_alerts: []}
      - eval_time: 17d12h30m
        alertname: Load unusual
        exp_alerts: [{exp_labels: {severity: warning, metric: throughput}, exp_annotations: {}}]
    promql_expr_test:
      - expr: protipp:usual:middle
        eval_time: 17d12h30m
        exp_samples: [{labels: 'protipp:usual:middle{rule="Load unusual"}', value: 1}]
      - expr: protipp:usual:middle
        eval_time: 9d
        exp_samples: []
"""


def test_prometheus_itself_finds_what_is_unusual_for_the_time_of_the_week(tmp_path):
    """Promtool runs 17 days of one request a second, and then of twenty."""
    rule = AlertRule(
        name="Load unusual", metric="throughput", basis="week", fire_at=8, clear_at=5,
        for_s=0, keep_firing_s=0,
    )  # fmt: skip
    rules = deploying.rules_yml([rule])
    rules = "".join(line for line in rules.splitlines(True) if "annotations" not in line)
    (tmp_path / "rules.yml").write_text(rules)
    (tmp_path / "tests.yml").write_text(WEEKS_OF_LOAD)
    tested = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "tests.yml"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert tested.returncode == 0, tested.stdout + tested.stderr


def settings_of_alertmanager(rules, causes=None, windows=()):
    text = alertmanager.alertmanager_yml(rules, causes or {}, windows)
    return json.loads("".join(line for line in text.splitlines(True) if line[0] != "#")), text


def test_alertmanager_gets_causes_and_mute_windows_and_is_told_what_it_cannot():
    slow = AlertRule(pk=1, name="API slow (v1)", metric="response_time")
    memory = AlertRule(pk=2, name="Memory", metric="memory", severity="critical")
    hours = {"begins": datetime.time(22), "ends": datetime.time(3)}
    windows = [
        MuteWindow(name="Weekend", weekdays="sat,sun", zone="Europe/Warsaw", **hours),
        MuteWindow(name="Noon", severity="critical", begins=datetime.time(12),
                   ends=datetime.time(13)),
        MuteWindow(name="Racks", node="web-*", **hours),
    ]  # fmt: skip
    found, text = settings_of_alertmanager([slow, memory], {1: ["Memory"]}, windows)

    assert found["inhibit_rules"] == [
        {
            "source_matchers": ['alertname=~"Memory"'],
            "target_matchers": [
                'alertname=~"API slow \\\\(v1\\\\)|API slow \\\\(v1\\\\) without data"'
            ],
        }
    ]
    muted = {one["matchers"][0]: one["mute_time_intervals"] for one in found["route"]["routes"]}
    assert list(muted.values()) == [["Weekend"], ["Weekend", "Noon"]]
    weekend = found["time_intervals"][0]["time_intervals"]
    assert [(one["weekdays"], one["times"]) for one in weekend] == [
        (["saturday", "sunday"], [{"start_time": "22:00", "end_time": "24:00"}]),
        (["monday", "sunday"], [{"start_time": "00:00", "end_time": "03:00"}]),
    ]
    assert {one["location"] for one in weekend} == {"Europe/Warsaw"}
    assert "Left out: the mute window Racks, because an alert of Prometheus knows no node" in text


def test_a_selector_is_said_by_labels_with_its_dots_as_dots():
    rule = AlertRule(name="r", metric="throughput", selector="* api/v1.0/*", fire_at=1)

    assert 'route=~"api/v1\\\\.0/.*"' in promql.value(rule)


def test_neighbouring_buckets_share_a_span_and_counts_are_differences():
    spans, deltas = native._native({-20: 3, -19: 5, -10: 1, -320: 9})

    assert len(spans) == 2
    assert deltas == [3, 2, -4]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def exporter(db, make_recorder):
    """A node whose /metrics tells of 1,000 requests from 1 to 1,000 ms."""
    recorder = make_recorder()
    for ms in range(1, 1001):
        recorder.request("GET api/v1/odds", 200, ms / 1000)
    recorder.count("cache", "board:hit", 75)
    recorder.gauge("queue", "celery", 3)
    recorder.flush()
    roller = Roller(alerting.Watch())
    roller.sequence = 4  # the totals are written each fifth second
    assert roller.tick() == 1
    server: WSGIServer = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class Prometheus:
    """One server of Debian's, scraping each second."""

    def __init__(self, folder, target_port, *features):
        folder.mkdir()
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs: [{job_name: protipp, static_configs: "
            f"[{{targets: ['127.0.0.1:{target_port}']}}]}}]\n"
        )
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program("prometheus"), f"--config.file={config}",
             f"--storage.tsdb.path={folder / 'data'}",
             "--web.listen-address=127.0.0.1:0", *features],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def port(self):
        """The port that the system gave it; one chosen before could be another's by then."""
        for one in psutil.Process(self.process.pid).net_connections("tcp4"):
            if one.status == psutil.CONN_LISTEN:
                return one.laddr.port
        raise ConnectionRefusedError("it does not listen yet")

    def value(self, query, within_s=40):
        """The first value of an instant query, as soon as there is one."""
        asked = urllib.parse.urlencode({"query": query})
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                address = f"http://127.0.0.1:{self.port()}/api/v1/query?{asked}"
                with urllib.request.urlopen(address, timeout=5) as answer:
                    found = json.load(answer)["data"]["result"]
            except OSError:
                found = []
            if found:
                return float(found[0]["value"][1])
            time.sleep(0.1)
        raise AssertionError(f"no answer to {query}")

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.log.close()


def test_a_real_prometheus_scrapes_the_same_numbers_classic_and_native(exporter, tmp_path):
    classic = Prometheus(tmp_path / "classic", exporter)
    modern = Prometheus(tmp_path / "native", exporter, "--enable-feature=native-histograms")
    try:
        count = "protipp_request_duration_seconds_count"
        assert classic.value(f'{count}{{route="api/v1/odds",method="GET",status="2xx"}}') == 1000
        assert classic.value('protipp_events_total{kind="cache",key="board:hit"}') == 75
        below = 'protipp_request_duration_seconds_bucket{le="0.5"}'
        assert classic.value(below) == 500
        name = "protipp_request_duration_seconds"
        assert modern.value(f"histogram_count({name})") == 1000
        assert modern.value(f"histogram_sum({name})") == pytest.approx(500.5, rel=1e-6)
        p95 = modern.value(f"histogram_quantile(0.95, {name})")
        assert p95 == pytest.approx(0.95, rel=0.044)
        ours = Histogram()
        ours.add_all([ms / 1000 for ms in range(1, 1001)])
        assert p95 == pytest.approx(ours.percentile(0.95), rel=0.044)
        assert modern.value('protipp_gauge{kind="queue"}') == 3
        assert modern.value('protipp_events_total{kind="cache"}') == 75
    finally:
        classic.stop()
        modern.stop()
