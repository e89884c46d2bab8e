"""What the proxy lets in, what it tells the nodes, and what it keeps."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from .conftest import ask, raw, wait_for

pytestmark = pytest.mark.stack


def told(answer):
    assert answer.status == 200
    return json.loads(answer.body)["told"]


def request_of(site, *lines):
    return raw(site.site.port, "\r\n".join([*lines, "Connection: close", "", ""]))


def test_a_header_with_an_underscore_is_refused(site):
    assert site.ask("/", headers={"X_Forwarded_Proto": "https"}).status == 403


def test_a_client_cannot_say_who_it_is_or_how_it_came(site):
    lies = {
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil",
        "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Original-URL": "/admin/",
        "X-Request-Start": "t=1", "X-HTTP-Method-Override": "DELETE",
    }  # fmt: skip

    heard = told(site.ask("/", headers=lies))

    assert heard["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert heard["HTTP_X_FORWARDED_PROTO"] == "http"
    for name in ("HOST", "SERVER"):
        assert f"HTTP_X_FORWARDED_{name}" not in heard
    assert not {
        "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_ORIGINAL_URL", "HTTP_X_HTTP_METHOD_OVERRIDE"
    } & heard.keys()  # fmt: skip


def test_the_proxy_stamps_when_a_request_came_in(site):
    began_us = int(told(site.ask("/"))["HTTP_X_REQUEST_START"].removeprefix("t="))

    assert abs(time.time() - began_us / 1e6) < 5


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("LOCALHOST:8000", 200), ("example.com", 200), ("a.example.com", 200),
        ("evil", 421), ("evilexample.com", 421), ("example.com.evil", 421),
        ("evil:80@127.0.0.1", 400), ("127.0.0.1,evil", 400), ("", 421),
    ],
)  # fmt: skip
def test_only_our_own_hosts_are_served(site, host, status):
    assert f" {status} " in request_of(site, "GET / HTTP/1.1", f"Host: {host}").splitlines()[0]


@pytest.mark.parametrize(
    "lines",
    [("GET / HTTP/1.1",), ("GET / HTTP/1.1", "Host: 127.0.0.1", "Host: evil"), ("GET / HTTP/1.0",)],
    ids=["none", "two", "http-1.0"],
)
def test_a_missing_or_second_host_is_refused(site, lines):
    assert " 400 " in request_of(site, *lines).splitlines()[0]


def test_a_refusal_is_json_for_programs_and_a_page_for_people(site):
    page = site.ask("/", headers={"Host": "evil"})
    answer = site.ask("/api/v1/odds", headers={"Host": "evil"})

    assert page.headers["content-type"].startswith("text/html")
    assert b"<h1>Unknown site</h1>" in page.body
    assert b"style=" not in page.body
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["reason"] == "unknown_host"


def test_every_answer_carries_the_security_headers(site):
    for answer in (site.ask("/"), site.ask("/", headers={"Host": "evil"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_body_that_is_declared_too_long_is_refused(site):
    head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000000\r\n\r\n"

    assert " 413 " in raw(site.site.port, head + "x" * 20_000).splitlines()[0]


def in_one_second(ask_twice):
    """Return a pair of answers of which the second is a hit; a pair that took too long is none."""

    def pair():
        first, second = ask_twice()
        return "proxy; hit" in second.headers.get("cache-status", "") and (first, second)

    return wait_for(pair, "a hit")


def test_a_public_answer_is_kept_for_a_second_and_an_immutable_asset_for_longer(site):
    path = f"/public/{uuid.uuid4()}"
    asset = f"/static/app.{uuid.uuid4()}.js"
    immutable = site.ask(asset)
    first, second = in_one_second(lambda: (site.ask(path), site.ask(path)))
    wait_for(lambda: site.ask(path).body != first.body, "the end of its second")

    assert "cache-status" not in first.headers
    assert second.body == first.body
    assert site.ask(asset).body == immutable.body


def test_a_conditional_request_does_not_keep_the_cache_empty(site):
    path = f"/conditional/{uuid.uuid4()}"
    conditional = {"If-None-Match": '"x"'}
    _, again = in_one_second(lambda: (site.ask(path, headers=conditional), site.ask(path)))

    assert again.body


@pytest.mark.parametrize("path", ["/private", "/cookie", "/etag-only", "/"])
def test_an_answer_that_does_not_say_public_is_never_kept(site, path):
    path = f"{path.rstrip('/')}/{uuid.uuid4()}"
    site.ask(path)

    assert "cache-status" not in site.ask(path).headers


@pytest.mark.parametrize(
    "headers", [{"Cookie": "sessionid=x"}, {"Authorization": "Bearer x"}], ids=["session", "key"]
)
def test_who_says_who_he_is_neither_fills_nor_uses_the_cache(site, headers):
    path = f"/public/{uuid.uuid4()}"
    mine = site.ask(path, headers=headers)
    public = site.ask(path)
    mine_again = site.ask(path, headers=headers)

    assert len({mine.body, public.body, mine_again.body}) == 3


def test_the_proxy_shows_its_own_numbers_on_loopback(site):
    answer = ask(site.site.stats_port, "/metrics")

    assert b"haproxy_backend_current_queue" in answer.body


def test_metrics_are_hidden_from_networks_that_are_not_named(cluster, tight):
    hidden = cluster("web-1", options=tight)

    for path in ("/metrics", "/%6detrics", "/metrics/"):
        assert hidden.ask(path).status == 404
    assert hidden.ask("/").status == 200


def test_an_address_that_asks_too_much_is_told_when_to_come_back(cluster, tight):
    limited = cluster("web-1", options=tight)
    statuses = [limited.ask("/").status for _ in range(25)]
    page, answer = limited.ask("/"), limited.ask("/api/v1/odds")

    assert statuses[0] == 200
    assert page.status == answer.status == 429
    assert page.headers["retry-after"] == answer.headers["retry-after"] == "10"
    assert json.loads(answer.body)["reason"] == "rate_limited"
