from __future__ import annotations

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path

from performance.core.stores import bus
from performance.monitoring import http, live


def fine(request, number):
    return HttpResponse("fine")


def fails(request):
    raise LookupError("no such thing")


urlpatterns = [path("things/<int:number>/", fine), path("fails/", fails)]


@pytest.fixture
def ask(make_recorder):
    """Ask a WSGI application that is wrapped; return the series that were sent."""
    recorder = make_recorder(slow_request_ms=0)

    def ask(application, *paths, method="get"):
        wrapped = http.wsgi_monitor(application, recorder)
        for each in paths:
            environ = getattr(RequestFactory(), method)(each).environ
            wrapped(environ, lambda status, headers, exc=None: None)
        recorder.flush()
        return live.read_samples("0-0")[0][-1][1]

    return ask


@pytest.fixture
def django_application(db):
    middleware = ["performance.monitoring.http.name_request"]
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
        handler = WSGIHandler()
        yield handler


def names(sample):
    return {row[1:3]: row[3].n for row in sample.series if row[0] == "request"}


def test_the_route_is_the_pattern_and_never_the_path(ask, django_application):
    sample = ask(django_application, "/things/1/", "/things/2/", "/nowhere/")

    assert names(sample) == {
        ("GET things/<int:number>/", "2xx"): 2,
        ("GET (no route)", "4xx"): 1,
    }


@pytest.mark.filterwarnings("ignore")
def test_a_view_that_fails_is_kept_with_its_exceptions_name(ask, django_application):
    from django.core.signals import got_request_exception

    got_request_exception.connect(http.remember_exception)
    try:
        sample = ask(django_application, "/fails/")
    finally:
        got_request_exception.disconnect(http.remember_exception)

    assert names(sample) == {("GET fails/", "5xx"): 1}
    assert sample.requests[0].error == "LookupError"


def test_an_answer_given_before_django_counts_with_its_route(ask):
    def cached(environ, start_response):
        start_response("304 Not Modified", [])
        return [b""]

    with override_settings(ROOT_URLCONF=__name__):
        sample = ask(cached, "/things/5/", "/things/6/")

    assert names(sample) == {("GET things/<int:number>/", "3xx"): 2}


def test_an_application_that_raises_counts_as_failed_and_still_raises(make_recorder):
    recorder = make_recorder()

    def broken(environ, start_response):
        raise RuntimeError("boom")

    environ = RequestFactory().get("/").environ
    with pytest.raises(RuntimeError, match="boom"):
        http.wsgi_monitor(broken, recorder)(environ, lambda *args: None)
    recorder.flush()

    assert [status for _, status in names(live.read_samples("0-0")[0][-1][1])] == ["5xx"]


async def test_http_on_a_live_node_counts_too(make_recorder):
    recorder = make_recorder()

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        pass

    scope = {"type": "http", "method": "BREW", "path": "/static/x.js"}
    await http.asgi_monitor(application, recorder)(scope, None, send)
    recorder.flush()

    assert bus().xlen("perf:samples") == 1
    assert names(live.read_samples("0-0")[0][-1][1]) == {("OTHER (static files)", "2xx"): 1}
