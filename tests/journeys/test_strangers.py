"""What a stranger meets at the proxy of a real stack: closed doors, and nothing of our insides."""

from __future__ import annotations

import http.client

import psutil
import pytest

pytestmark = pytest.mark.stack


@pytest.fixture
def ask(up):
    def ask(path, method="GET", **headers):
        """Return status, headers (names in lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=15)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    return ask


def test_every_process_listens_on_loopback_only(up):
    strangers = [
        (process.name(), listener.laddr)
        for process in up.everyone()
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


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(ask, up):
    _, headers, _ = ask("/admin/login/")
    assert "SameSite=Lax" in headers["set-cookie"]

    for page in ("/", "/arbitrage/", "/nowhere/", "/api/v1/sports"):
        assert "set-cookie" not in ask(page)[1]
