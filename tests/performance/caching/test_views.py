"""`cached_view`: what is for all is given to all, and what is for one to nobody else."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.views.decorators.cache import never_cache
from django.views.decorators.vary import vary_on_headers
from hypothesis import given
from hypothesis import strategies as st

from performance.caching import ranges
from performance.caching.services import cache, cached_view


class User:
    username = "ann"


def ask(view, path="/page", *, user=None, method="GET", cookies=None, **headers):
    request = RequestFactory().generic(method, path, headers=headers)
    request.COOKIES = cookies or {}
    request.user = user or User()
    request.session = {"who": "ann"}
    return view(request)


def make(answer=lambda request: HttpResponse("x" * 1000), **options):
    calls = []

    @cached_view("page", **{"ttl_s": 60, "cdn": "public"} | options)
    def view(request, **values):
        calls.append(request)
        return answer(request)

    return view, calls


def test_a_second_visitor_gets_the_first_ones_page_with_its_headers(fake):
    def answer(request):
        return HttpResponse("x" * 1000, headers={"X-Own": "1", "Content-Type": "text/plain"})

    view, calls = make(answer)
    first, second = ask(view), ask(view, accept_encoding="br")
    assert len(calls) == 1
    assert (second["X-Own"], second["Content-Type"]) == ("1", "text/plain")
    assert second["Content-Encoding"] == "br"
    assert second["Cache-Status"].startswith("ProTipp; hit")
    assert second["Cache-Control"].startswith("public")
    assert first.content == b"x" * 1000


def test_a_304_a_head_and_a_range_are_right(fake):
    view, calls = make(lambda request: HttpResponse(bytes(range(250)) * 4))
    full = ask(view)

    assert ask(view, if_none_match=full["ETag"]).status_code == 304
    head = ask(view, method="HEAD")
    assert (head.content, head["Content-Length"]) == (b"", "1000")
    part = ask(view, range="bytes=10-19")
    assert (part.status_code, part.content) == (206, full.content[10:20])
    assert part["Content-Range"] == "bytes 10-19/1000"
    assert ask(view, range="bytes=10-19", if_range='"other"').status_code == 200
    assert ask(view, range="bytes=10-19", if_range=full["ETag"]).status_code == 206
    assert ask(view, range="bytes=2000-")["Content-Range"] == "bytes */1000"
    assert ask(view, range="bytes=2000-").status_code == 416
    assert ask(view, range="bytes=0-1,5-6").status_code == 200
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: HttpResponse(f"Hello {request.user.username or 'nobody'}"),
        lambda request: HttpResponse(request.session.get("who", "nobody")),
        lambda request: HttpResponse("x", headers={"Set-Cookie": "a=b"}),
        lambda request: HttpResponse(get_token(request)),
        lambda request: HttpResponse("x", headers={"Cache-Control": "private"}),
        never_cache(lambda request: HttpResponse("x")),
        vary_on_headers("Cookie")(lambda request: HttpResponse("x")),
        vary_on_headers("Accept-Language")(lambda request: HttpResponse("x")),
        lambda request: HttpResponse("x", status=404),
        lambda request: HttpResponse("x", headers={"Vary": "*"}),
        lambda request: StreamingHttpResponse([b"x"]),
    ],
    ids=["user", "session", "cookie", "csrf", "private", "no-store", "vary-cookie",
         "vary-undeclared", "404", "vary-any", "stream"],
)  # fmt: skip
def test_what_is_not_for_all_is_never_stored(fake, answer):
    def with_cookie(request):
        response = answer(request)
        if response.headers.pop("Set-Cookie", None):
            response.set_cookie("a", "b")
        return response

    view, calls = make(with_cookie)
    first, second = ask(view), ask(view)
    assert len(calls) == 3, "once for nobody, then for each asker"
    for response in (first, second):
        assert response["Cache-Status"] == "ProTipp; fwd=bypass"
        assert "public" not in response.get("Cache-Control", "private")
    assert not [key for key in fake.kept if ":v:page:" in key]


def test_a_view_that_looks_at_its_user_shows_each_their_own(fake):
    view, _ = make(lambda request: HttpResponse(request.user.username))
    other = User()
    other.username = "bob"

    assert [ask(view).content, ask(view, user=other).content] == [b"ann", b"bob"]


def test_what_the_view_is_not_told_it_cannot_put_into_a_page_for_all(fake):
    def answer(request):
        told = [request.COOKIES, request.headers.get("Authorization"), request.META.get("HTTP_X")]
        return JsonResponse({"told": told})

    view, _ = make(answer)
    response = ask(view, cookies={"a": "b"}, authorization="Bearer secret", x="1")
    assert response.content == b'{"told": [{}, null, null]}'


def test_declared_headers_and_parameters_make_pages_of_their_own(fake):
    def answer(request):
        return HttpResponse(f"{request.GET.get('page')} {request.headers.get('Accept-Language')}")

    view, calls = make(answer, query=["page"], vary=["Accept-Language"])
    for _ in range(2):
        for path, language in (("/a?page=1", "de"), ("/a?page=2", "de"), ("/a?page=1", "en")):
            response = ask(view, path, accept_language=language)
            assert response.content == f"{path[-1]} {language}".encode()
            assert response["Vary"] == "Accept-Language"
    assert len(calls) == 3


@pytest.mark.parametrize(("path", "method"), [("/page?x=1", "GET"), ("/page", "POST")])
def test_an_undeclared_parameter_and_another_method_pass_the_cache(fake, path, method):
    view, calls = make()
    for _ in range(2):
        assert "Cache-Status" not in ask(view, path, method=method)
    assert len(calls) == 2


def test_two_hosts_have_pages_of_their_own(fake, settings):
    settings.ALLOWED_HOSTS = ["a.example", "b.example"]
    view, _ = make(lambda request: HttpResponse(request.build_absolute_uri("/")))

    assert ask(view, host="a.example").content == b"http://a.example/"
    assert ask(view, host="b.example").content == b"http://b.example/"


def test_its_tags_come_from_the_url_and_end_it(fake):
    view, calls = make(tags=lambda sport: [f"sport:{sport}"])
    request = RequestFactory().get("/epl")

    response = view(request, sport="epl")
    assert response["Surrogate-Key"] == "family:page sport:epl"
    view(request, sport="epl")
    cache.invalidate("sport:epl")
    view(request, sport="epl")
    assert len(calls) == 2


def test_a_template_response_is_rendered_once(fake):
    template = engines["django"].from_string("rendered")
    view, calls = make(lambda request: SimpleTemplateResponse(template))

    assert ask(view).content == ask(view).content == b"rendered"
    assert len(calls) == 1


def test_varying_with_who_asks_is_refused_at_once():
    with pytest.raises(ImproperlyConfigured, match="Cookie"):
        cached_view("page", vary=["Cookie"])


# --- ranges


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d{0,3}-\d{0,3}", fullmatch=True))
def test_whatever_a_range_says_the_part_lies_within_the_answer(header):
    part = ranges.wanted(header, "", '"e"', 100)
    if part is not None and part != ranges.NOWHERE:
        begin, end = part
        assert 0 <= begin < end <= 100


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=100-", ranges.NOWHERE),
        ("bytes=-0", ranges.NOWHERE),
        ("bytes=5-3", None),
        ("lines=0-1", None),
        ("bytes=0-1,2-3", None),
    ],
)
def test_ranges_are_read_as_the_rfc_has_them(header, part):
    assert ranges.wanted(header, "", '"e"', 100) == part
