"""One story in a real browser: an endpoint turns slow, somebody is told, it is well again."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import uvicorn
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from playwright.sync_api import expect, sync_playwright

from performance.core import signals
from performance.core.stores import bus
from performance.dashboard.routing import websocket_urlpatterns
from performance.monitoring import figures, http
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.leading import Monitor
from performance.monitoring.models import AlertChannel, AlertRule
from performance.monitoring.recorder import StreamRecorder

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SECRET = "a secret of our own"
SLOW_S, RED_MS = 0.3, 200


class Slowness:
    """How long the endpoint sleeps, as the test wants it."""

    seconds = SLOW_S


def slow(request):
    time.sleep(Slowness.seconds)
    return HttpResponse("done")


def page_of_visitors(request):
    template = engines["django"].from_string(
        "{% load vitals %}<!doctype html><title>t</title>{% web_vitals %}<h1>Odds</h1>"
    )
    return HttpResponse(template.render())


reports: list[tuple[str, dict]] = []


@csrf_exempt
def take_report(request):
    reports.append((request.headers.get("Cookie", ""), json.loads(request.body)))
    return HttpResponse(status=202)


URLS = ModuleType("monitoring_browser_urls")
URLS.urlpatterns = [
    path("slow/", slow),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("admin/", admin.site.urls),
    path("visitors/", page_of_visitors),
    path("api/v1/performance/vitals", take_report),
]
sys.modules[URLS.__name__] = URLS


@pytest.fixture
def site(settings, monkeypatch):
    """The address of a node that is measured, with a monitor beside it."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # playwright's sync API runs a loop in here
    settings.ROOT_URLCONF = URLS.__name__
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    settings.PERFORMANCE = {
        **settings.PERFORMANCE, "MONITORING": {"webhook_networks": ("127.0.0.0/8",)}
    }  # fmt: skip
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    recorder = StreamRecorder(node="web-1", process="web", bus=bus, conf=MonitoringConf())
    monkeypatch.setattr(signals, "recorder", recorder)
    measured = http.asgi_monitor(ASGIStaticFilesHandler(ASGIHandler()), recorder)
    sockets = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    application = ProtocolTypeRouter({"http": measured, "websocket": sockets})
    node = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    stop = threading.Event()
    threads = [
        threading.Thread(target=node.run, daemon=True),
        threading.Thread(target=Monitor(stop).run, daemon=True),
    ]
    recorder.start()
    for thread in threads:
        thread.start()
    while not node.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{node.servers[0].sockets[0].getsockname()[1]}"
    stop.set()
    node.should_exit = node.force_exit = True
    for thread in threads:
        thread.join(10)
    recorder.stop()
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def rule(transactional_db, receiver):
    AlertRule.objects.all().delete()
    AlertChannel.objects.create(
        name="hook", kind="webhook", address=receiver.url, secret=SECRET, group_wait_s=0
    )
    return AlertRule.objects.create(
        name="Slow page", metric="response_time", selector="GET slow/", aggregate="p95",
        fire_at=RED_MS, clear_at=RED_MS, for_s=1, keep_firing_s=1,
    )  # fmt: skip


@pytest.fixture
def tab(rule, site, chromium):
    client = Client()
    client.force_login(User.objects.create_superuser("anna"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        name = "sessionid"
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])
        page = context.new_page()
        page.problems = []
        page.on(
            "console",
            lambda line: page.problems.append(line.text) if line.type == "error" else None,
        )
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        yield page
        browser.close()


def ask(site, times, at_once=8):
    def one(_):
        with urllib.request.urlopen(f"{site}/slow/", timeout=60) as answer:
            return answer.status

    with ThreadPoolExecutor(at_once) as pool:
        assert set(pool.map(one, range(times))) == {200}


def told(receiver):
    return [row["event"] for _, body in receiver.got for row in json.loads(body)["alerts"]]


def test_a_slow_endpoint_goes_red_somebody_is_told_and_it_ends(tab, site, receiver, monkeypatch):
    monkeypatch.setattr(figures, "RED_MS", RED_MS)
    monkeypatch.setattr(Slowness, "seconds", SLOW_S)
    tab.goto(f"{site}/admin/performance/monitor/")
    row = tab.locator('#endpoints tr[data-key="GET slow/"]')
    ask(site, 21)

    expect(row.locator(".badge.bad")).to_be_visible(timeout=45_000)
    tab.goto(f"{site}/admin/performance/alerts/")
    state = tab.locator("#rules tbody tr .badge")
    expect(state).to_have_text("firing", timeout=45_000)
    until(lambda: told(receiver) == ["fired"])

    Slowness.seconds = 0.0
    ask(site, 700, at_once=1)
    expect(state).to_have_text("ok", timeout=45_000)
    until(lambda: told(receiver) == ["fired", "cleared"])
    tab.goto(f"{site}/admin/performance/monitor/")
    expect(row.locator(".badge.bad")).to_have_count(0, timeout=45_000)
    assert tab.problems == []


def until(true, within_s=45):
    assert becomes(true, within_s), "it did not become true in time"


def becomes(true, within_s):
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def names_reported():
    return {one["name"] for _, sent in reports for one in sent["vitals"]}


def test_every_range_the_comparison_and_an_endpoint_show_without_a_breach(tab, site):
    ask(site, 3, at_once=3)
    for query in (
        "", "?range=1h", "?range=90d&compare=week", "?compare=week",
        "?endpoint=GET%20slow/", "?range=24h&endpoint=GET%20slow/&compare=week",
        "?from=2026-01-01T00:00&to=2026-01-02T00:00", "?range=nonsense",
    ):  # fmt: skip
        tab.goto(f"{site}/admin/performance/monitor/{query}")
        expect(tab.locator(".chart canvas").first).to_be_visible(timeout=45_000)
        shoot(tab, query)
        assert tab.problems == [], query
    assert "nonsense" in tab.locator(".notice").first.inner_text()


def shoot(tab, query):
    """Leave pictures where PROTIPP_PICTURES says, for a person to look at."""
    folder = os.environ.get("PROTIPP_PICTURES")
    if folder:
        name = "".join(one if one.isalnum() else "-" for one in query) or "live"
        tab.screenshot(path=f"{folder}/monitor{name}.png", full_page=True)


def test_a_visitors_browser_reports_its_vitals_when_it_leaves(tab, site):
    reports.clear()
    wanted = {"TTFB", "FCP"}
    for _ in range(5):  # one that leaves before its script had its turn measures nothing
        tab.goto(f"{site}/visitors/", wait_until="networkidle")
        tab.locator("h1").click()
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        tab.evaluate("new Promise((done) => requestIdleCallback(done, { timeout: 5000 }))")
        tab.goto("about:blank")
        if becomes(lambda: wanted <= names_reported(), within_s=5):
            break
    assert wanted <= names_reported()
    assert {sent["path"] for _, sent in reports} == {"/visitors/"}
    assert {cookies for cookies, _ in reports} == {""}
    assert tab.problems == []
