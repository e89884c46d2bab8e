"""What Prometheus makes of us: its own tools and its own server are asked."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.core.wsgi import get_wsgi_application

from performance.monitoring import alerting, native, promql
from performance.monitoring.histogram import Histogram
from performance.monitoring.models import AlertRule
from performance.monitoring.roller import Roller
from tests.conftest import free_port, program

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
    assert "13 rules found" in checked.stdout + checked.stderr
    board = json.loads((DEPLOY / "grafana" / "protipp.json").read_text())
    assert {"API slow", "Node silent"} <= {panel["title"] for panel in board["panels"]}


def test_a_rule_that_promql_cannot_say_says_why():
    usual = AlertRule(name="u", metric="response_time", aggregate="p95", basis="week", fire_at=1)
    mixed = AlertRule(name="m", metric="error_rate", selector="GET a, POST b", fire_at=1)

    with pytest.raises(promql.Unsayable, match="past weeks"):
        promql.expression(usual)
    with pytest.raises(promql.Unsayable, match="mixes methods"):
        promql.expression(mixed)


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
        self.port = free_port()
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
             f"--web.listen-address=127.0.0.1:{self.port}", *features],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def value(self, query, within_s=40):
        """The first value of an instant query, as soon as there is one."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode(
            {"query": query}
        )
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
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
