"""The frame in a real browser: live, honest when cut off, and without one breach of the CSP."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth.models import Group
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from playwright.sync_api import expect, sync_playwright

from performance.core import broadcast
from performance.dashboard.origins import OwnOrigin
from performance.dashboard.routing import websocket_urlpatterns

from .conftest import PASSWORD, Demo

expect.set_options(timeout=30_000)  # a busy machine draws late
DEMO = Path(__file__).parent / "demo"
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(demo, pressed, settings, monkeypatch, make_user):
    """The address of a node that answers pages and sockets, with a demo page."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # playwright's sync API runs a loop in here
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "DIRS": [DEMO / "templates", *settings.TEMPLATES[0]["DIRS"]]}
    ]
    settings.STATICFILES_DIRS = [DEMO / "static", *settings.STATICFILES_DIRS]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    finders.get_finder.cache_clear()
    monkeypatch.setattr(Demo, "template_name", "demo.html")
    monkeypatch.setattr(Demo, "numbers", numbers())
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    make_user("anna", is_superuser=True)
    sockets = OwnOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    application = ProtocolTypeRouter(
        {"http": ASGIStaticFilesHandler(ASGIHandler()), "websocket": sockets}
    )
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="off")
    node = uvicorn.Server(config)
    thread = threading.Thread(target=node.run, daemon=True)
    thread.start()
    while not node.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{node.servers[0].sockets[0].getsockname()[1]}"
    node.should_exit = node.force_exit = True
    thread.join(10)
    # A request that the browser broke off leaves its thread's connection, and the database could
    # not be dropped.
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    finders.get_finder.cache_clear()


def numbers():
    now = int(time.time())
    times = [now - 300 + second for second in range(300) if not 120 < second < 150]
    p95 = [40 + 12 * math.sin(at / 20) for at in times]
    return {
        "requests_per_s": 12.5,
        "times": times,
        "values": [p95, [value / 2 for value in p95]],
    }


@pytest.fixture
def tab(site, chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, color_scheme="dark")
        page.problems = []
        page.on(
            "console",
            lambda line: (
                page.problems.append(f"{line.text} {line.location['url']}")
                if line.type == "error"
                else None
            ),
        )
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(f"{site}/admin/")
        shoot(page, "login")
        page.fill("#id_username", "anna")
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        yield page
        browser.close()


def shoot(page, name):
    """Leave a picture where PROTIPP_PICTURES says, for a person to look at."""
    folder = os.environ.get("PROTIPP_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_page_is_live_and_says_so_when_it_is_not(tab, site):
    tab.goto(f"{site}/admin/performance/demo/")
    status = tab.locator("#status")
    expect(status).to_have_text("live")
    expect(tab.locator(".chart canvas")).to_be_visible()
    assert tab.get_attribute("#latency", "aria-label").startswith("Latency. Newest: p95 ")

    now = int(time.time())
    broadcast.publish("demo", {"requests_per_s": 99, "time": now, "p95": 50})

    expect(tab.locator("[data-bind=rate]")).to_have_text("99")
    shoot(tab, "demo-dark")
    expect(status).to_contain_text("no data since")

    shoot_all(tab)
    tab.fill("[name=name]", "bell")
    tab.click("form.act button")
    expect(tab.locator(".notice")).to_have_text("bell would be pressed 1 times.")
    tab.click("button[value=run]")
    expect(tab.locator(".notice.good")).to_have_text("Pressed bell 1 times.")
    tab.click("a.button.primary")
    expect(status).to_have_text("live")
    tab.click("#logout-form button")
    expect(tab.locator("body")).to_contain_text("Log in again")
    tab.go_back()
    assert "requests_per_s" not in tab.content()
    assert tab.problems == []


def shoot_all(tab):
    tab.emulate_media(color_scheme="light")
    shoot(tab, "demo-light")
    tab.set_viewport_size({"width": 390, "height": 900})
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    shoot(tab, "demo-phone")
    tab.emulate_media(color_scheme="dark")
    shoot(tab, "demo-phone-dark")
    tab.set_viewport_size({"width": 1400, "height": 1000})


def test_no_page_of_the_admin_breaks_the_content_security_policy(tab, site):
    group = Group.objects.create(name="watchers")
    paths = [
        "",
        "auth/user/",
        "auth/user/add/",
        "auth/group/",
        f"auth/group/{group.pk}/change/",
        f"auth/group/{group.pk}/history/",
        f"auth/group/{group.pk}/delete/",
        "performance_dashboard/auditentry/",
        "performance/acts/demo.press/?name=bell&times=2",
        "performance/acts/demo.burn/",
        "password_change/",
    ]
    for path in paths:
        tab.goto(f"{site}/admin/{path}")
        shoot(tab, "admin-" + (path.split("?")[0].strip("/").replace("/", "-") or "index"))

        assert tab.problems == [], path
