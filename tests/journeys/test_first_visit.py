"""The whole story, as its people live it: a running stack, a moving market, a real browser."""

from __future__ import annotations

import http.client
import json
import os
import re
from decimal import Decimal

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.stack]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def market(new_up):
    """The stack of `make run`: the simulated market moves in it."""
    stack = new_up(source="simulate").start()
    stack.until(lambda: stack.json("/api/v1/arbitrage")["opportunities"])
    return stack


@pytest.fixture(scope="module")
def browser(chromium):
    # Playwright's synchronous API keeps an event loop running, which Django takes for async code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(browser, market):
    context = browser.new_context(base_url=f"http://127.0.0.1:{market.port}")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    yield page
    context.close()
    assert complaints == []


def cents(amount: float) -> Decimal:
    return Decimal(str(amount)).quantize(Decimal("0.01"))


def log_in(page: Page, market) -> None:
    page.goto("/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", market.password())
    page.click("[type=submit]")


def test_staff_log_in_and_see_performance_monitor_move(page, market):
    log_in(page, market)
    page.get_by_role("link", name="PerformanceMonitor").first.click()

    status = page.locator("#status")
    expect(status).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
    before = page.locator("#page").inner_text()
    page.wait_for_function(
        "before => document.querySelector('#page').innerText !== before",
        arg=before,
        timeout=PATIENCE_MS,
    )


@pytest.mark.parametrize("title", ["CacheStatus", "QueryOptimizer", "CDN", "Alerts"])
def test_staff_see_each_live_page(page, market, title):
    log_in(page, market)
    page.get_by_role("link", name=title).first.click()

    expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)


def test_a_visitor_sees_a_price_change_live(page):
    page.goto("/")
    expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)

    prices = "[...document.querySelectorAll('td[data-book]')].map(e => e.textContent).join('|')"
    before = page.evaluate(prices)
    page.wait_for_function(f"before => {prices} !== before", arg=before, timeout=PATIENCE_MS)


def test_a_visitor_reads_an_arbitrage_whose_stakes_add_up(page, market):
    page.goto("/arbitrage/?bankroll=1000")
    expect(page.locator("[data-opportunity]").first).to_be_visible()

    plans = [
        found["stakes"]
        for found in market.json("/api/v1/arbitrage?bankroll=1000")["opportunities"]
        if found["stakes"]  # else rounding to cents ate the profit
    ]
    assert plans
    for plan in plans:
        spent = sum(cents(bet["stake"]) for bet in plan["bets"])
        assert spent == cents(plan["staked"]) <= Decimal(1000)
        for bet in plan["bets"]:
            pays = cents(bet["stake"]) * Decimal(str(bet["net_price"]))
            assert pays - spent >= cents(plan["profit"]) > 0


def test_the_board_is_complete_without_javascript(browser, market):
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{market.port}", java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/")
    text = page.locator("main").inner_text()
    context.close()

    assert len(re.findall(r"\b\d+\.\d{2}\b", text)) > 50


def test_the_api_says_where_its_answer_came_from(market):
    sport = market.json("/api/v1/sports")[0]["key"]
    market.answer(f"/api/v1/odds?sport={sport}")
    headers, _ = market.answer(f"/api/v1/odds?sport={sport}")

    assert "hit" in headers["Cache-Status"] or "Age" in headers
    assert headers["ETag"]


def test_warming_and_purging_by_command_work_beside_the_running_site(market):
    warmed = market.command("warm_cache")
    status = json.loads(market.command("cache_status", "--json"))

    assert "Warmed" in warmed
    assert status


# --- what a stranger meets: closed doors, and nothing of our insides ------------------------------
@pytest.fixture
def ask(market):
    def ask(path, method="GET", **headers):
        """Return status, headers (names in lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", market.port, timeout=15)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    return ask


def test_every_process_listens_on_loopback_only(market):
    strangers = [
        (process.name(), listener.laddr)
        for process in market.everyone()
        for listener in process.net_connections(kind="inet")
        if listener.status == psutil.CONN_LISTEN and listener.laddr.ip not in ("127.0.0.1", "::1")
    ]

    assert strangers == []


def test_a_header_that_could_pass_for_another_is_refused(ask):
    assert ask("/", X_Forwarded_For="1.2.3.4")[0] in (400, 403)


def test_an_unknown_host_is_refused(ask):
    status, _, body = ask("/", Host="evil.example")

    assert status in (400, 403, 421)
    assert "ALLOWED_HOSTS" not in body


def test_a_spoofed_address_or_scheme_changes_nothing(ask):
    status, headers, _ = ask(
        "/admin/", **{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
    )

    assert status == 302
    assert headers["location"].startswith("/admin/login/")


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1, 10.0.0.1"])
def test_the_figures_are_not_there_for_strangers(ask, address):
    spoofed = {"X-Forwarded-For": address} if address else {}

    assert ask("/metrics", **spoofed)[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/arbitrage/", 200),
        ("/nowhere/", 404),
        ("/events/none/", 404),
        ("/?sport=%00", 400),
        ("/api/v1/nowhere", 404),
        ("/api/v1/odds?sport=none", 404),
        ("/admin/login/", 200),
        ("/admin/performance/monitor/", 302),
        ("/admin/performance/nowhere/", 302),
    ],
)
def test_every_answer_is_closed_to_scripts_and_silent_about_us(ask, path, status):
    found, headers, body = ask(path)

    assert found in (status, 404 if status == 400 else status)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers
    assert "x-powered-by" not in headers
    for inside in (
        "Traceback",
        "/performance/core",
        "site-packages",
        "psycopg",
        "granian",
        "DEBUG",
        "urlconf",
    ):
        assert inside not in body


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/performance/cache/"])
def test_no_staff_page_is_kept_by_anybody(ask, path):
    _, headers, _ = ask(path)

    assert "no-store" in headers["cache-control"]


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(ask):
    _, headers, _ = ask("/admin/login/")
    assert "SameSite=Lax" in headers["set-cookie"]

    for page in ("/", "/arbitrage/", "/nowhere/", "/api/v1/sports"):
        assert "set-cookie" not in ask(page)[1]
