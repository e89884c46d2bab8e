from __future__ import annotations

import gzip
import io
import json
import time
from types import SimpleNamespace

import brotli
import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path

from performance.caching import wsgi
from performance.caching.bodies import Body
from performance.caching.envelope import seal, unseal
from performance.caching.services import (
    cache,
    cached,
    cached_response,
    public_route,
    wsgi_cache,
)
from performance.core import stores

BODY = json.dumps([{"event": number, "price": 2.1} for number in range(200)]).encode()
urlpatterns = []


def make_api(**options):
    @cached(
        "api.board",
        **{
            "ttl_s": 5,
            "stale_s": 30,
            "schema": bytes,
            "cdn": "public",
            "tags": lambda sport: [f"sport:{sport}"],
        }
        | options,
    )
    def api_board(sport: str) -> bytes:
        return BODY

    return api_board


def get(family, *, method="GET", **headers):
    request = RequestFactory().generic(method, "/", headers=headers)
    return cached_response(request, family, "epl")


def test_each_encoding_has_its_bytes_and_its_own_strong_etag():
    api = make_api()

    plain, zipped, br = (get(api, accept_encoding=coding) for coding in ("", "gzip", "br, gzip"))
    assert plain.content == gzip.decompress(zipped.content) == brotli.decompress(br.content) == BODY
    assert len({plain["ETag"], zipped["ETag"], br["ETag"]}) == 3
    assert br["Content-Encoding"] == "br"
    assert "Content-Encoding" not in plain
    assert {answer["Vary"] for answer in (plain, zipped, br)} == {"Accept-Encoding"}


def test_a_client_that_has_the_answer_gets_304_without_a_body():
    api = make_api()
    etag = get(api, accept_encoding="gzip")["ETag"]

    again = get(api, accept_encoding="gzip", if_none_match=f'"other", W/{etag}')
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == etag
    assert get(api, if_none_match=etag).status_code == 200


def test_head_says_what_get_would_and_sends_nothing():
    api = make_api()
    full = get(api)

    head = get(api, method="HEAD")
    assert head.content == b""
    assert head["Content-Length"] == full["Content-Length"] == str(len(BODY))


def test_the_answer_says_what_was_hit_and_how_long_others_may_keep_it():
    api = make_api()

    assert get(api)["Cache-Status"] == "ProTipp; fwd=uri-miss; stored"
    hit = get(api)
    assert hit["Cache-Status"].startswith("ProTipp; hit; ttl=")
    assert hit["Surrogate-Key"] == "family:api.board sport:epl"
    assert hit["Cache-Tag"] == "family:api.board,sport:epl"
    assert hit["Cache-Control"].startswith("public, max-age=1, stale-while-revalidate=30")


def test_no_copy_outlives_the_familys_limit_anywhere(fake):
    api = make_api(ttl_s=5, stale_s=3, memory_s=0)
    get(api)
    fake.advance(6)

    stale = get(api)
    assert "detail=stale" in stale["Cache-Status"]
    assert stale["CDN-Cache-Control"] == (
        "public, max-age=1, stale-while-revalidate=1, stale-if-error=1"
    )


def test_a_family_that_is_not_public_is_never_kept_by_others():
    api = make_api(cdn=None)

    answer = get(api)
    assert answer["Cache-Control"] == "private, no-cache"
    assert "CDN-Cache-Control" not in answer
    assert "Surrogate-Key" not in answer


def test_a_family_without_bytes_is_refused_by_name():
    @cached("objects", ttl_s=5)
    def objects(sport: str) -> list[int]:
        return []

    with pytest.raises(ImproperlyConfigured, match=r"objects.*schema=bytes"):
        get(objects)


@pytest.mark.parametrize("zipped", [b"", b"no gzip", gzip.compress(b"\0" * 10_000_000), None])
def test_a_stored_body_that_cannot_be_unpacked_is_a_miss_and_counted(hearing, zipped):
    api = make_api(memory_s=0)
    get(api)
    (key,) = [key for key in stores.cache_store().keys("*:v:api.board:*") if b"lease" not in key]
    stored = unseal(stores.cache_store().get(key), schema=api.codec.schema_hash, max_bytes=10**7)
    body = msgspec.msgpack.decode(stored.payload, type=Body)
    wrong = msgspec.msgpack.encode(msgspec.structs.replace(body, gzip=zipped))
    forged = msgspec.structs.replace(stored, payload=wrong)
    stores.cache_store().set(key, seal(forged, compress_from_bytes=None))

    assert get(api, accept_encoding="").content == BODY
    assert api.counts.unreadable >= 1


# --- the wrapper around Django


@pytest.fixture(autouse=True)
def _own_routes(monkeypatch):
    monkeypatch.setattr(wsgi, "_routes", [])


@pytest.fixture
def site(settings):
    """A site with one public route, asked as a WSGI server would."""
    api = make_api()
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    seen = []

    def view(request):
        seen.append(request.get_full_path())
        response = cached_response(request, api, request.GET.get("sport", "epl"))
        if request.headers.get("cookie"):
            response.set_cookie("who", "me")
        return response

    urlpatterns[:] = [path("api/board", view), path("other", lambda request: HttpResponse("x"))]
    public_route("/api/board", api, parameters=["sport"], arguments=lambda sport="epl": (sport,))
    return Site(wsgi_cache(WSGIHandler()), seen)


class Site:
    def __init__(self, application, seen):
        # Django looks after what an earlier test may have left open, which is not ours to touch.
        connections.close_all()
        self.application = application
        self.seen = seen

    def ask(self, query="", *, method="GET", **headers):
        environ = RequestFactory().generic(
            method, "/api/board", QUERY_STRING=query, headers=headers
        ).environ | {"wsgi.input": io.BytesIO()}
        environ.setdefault("HTTP_HOST", "testserver")
        answer = {}

        def start(status, headers, *rest):
            answer.update(status=status, headers=dict(headers))

        body = self.application(environ, start)
        answer["body"] = b"".join(body)
        if hasattr(body, "close"):
            body.close()
        return answer


def untiered(answer):
    """Which tier had it may differ: the push of the first generations empties memory late."""
    said = answer["headers"].get("Cache-Status", "").replace("detail=l2", "detail=l1")
    return answer | {"headers": answer["headers"] | {"Cache-Status": said}}


def test_the_wrapper_answers_as_the_view_does_without_the_view(site, hearing):
    now_s = time.time()
    hearing.clock = lambda: now_s
    for _ in range(3):
        site.ask()

    for headers in ({}, {"accept_encoding": "br"}, {"accept_encoding": "gzip"}):
        before = list(site.seen)
        quick = site.ask(**headers)
        assert site.seen == before
        slow = site.ask("unknown=1", **headers)
        assert len(site.seen) == len(before) + 1
        assert untiered(quick) == untiered(slow)
        etag = quick["headers"]["ETag"]
        quick, slow = (
            site.ask(query, if_none_match=etag, **headers) for query in ("", "unknown=1")
        )
        slow["headers"].pop("Content-Length", None)  # CommonMiddleware's, of the empty body
        assert quick["status"] == slow["status"] == "304 Not Modified"
        assert untiered(quick) == untiered(slow)


def test_a_range_through_the_wrapper_is_as_the_view_gives_it(site, hearing):
    now_s = time.time()
    hearing.clock = lambda: now_s
    for _ in range(3):
        site.ask()

    for asked, status in (("bytes=5-9", "206"), ("bytes=-3", "206"), ("bytes=999999-", "416")):
        before = len(site.seen)
        quick, slow = site.ask(range=asked), site.ask("unknown=1", range=asked)
        assert len(site.seen) == before + 1
        assert quick["status"].startswith(status)
        assert untiered(quick) == untiered(slow)
    assert site.ask(range="bytes=5-9")["body"] == BODY[5:10]


def test_the_wrapper_hands_on_what_it_has_not_stored(site):
    site.ask("sport=epl")

    assert site.ask("sport=nba")["headers"]["Cache-Status"] == "ProTipp; fwd=uri-miss; stored"
    assert "sport=nba" in site.seen[-1]


def test_an_answer_with_a_cookie_teaches_the_wrapper_nothing(site):
    site.ask(cookie="a=b")
    site.ask(cookie="a=b")

    assert len(site.seen) == 2


@pytest.mark.parametrize("query", ["sport=epl&sport=nba", "sport=epl&x=1"])
def test_a_query_that_is_not_declared_goes_to_the_view(site, query):
    site.ask("sport=epl")
    site.ask(query)

    assert query in site.seen[-1]


def test_a_strange_host_goes_to_django_which_refuses_it(site):
    site.ask()

    assert site.ask(host="evil.example")["status"] == "400 Bad Request"


@pytest.fixture
def changing(settings, hearing):
    """A route whose outdated answers may be given for 2 s, and a body that says its version."""
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    site = Site(wsgi_cache(WSGIHandler()), [])
    site.version = 1
    site.now_s = time.time()
    hearing.clock = lambda: site.now_s
    site.idle = hearing.workers.idle

    @cached(
        "api.changing", ttl_s=5, stale_s=30, memory_s=1, schema=bytes, cdn="public",
        tags=lambda: ["odds"],
    )  # fmt: skip
    def api() -> bytes:
        return b"version %d" % site.version

    urlpatterns[:] = [path("api/board", lambda request: cached_response(request, api))]
    public_route("/api/board", api, outdated_s=2)
    site.ask()
    return site


def test_an_outdated_answer_is_given_once_more_while_the_next_is_made(changing, eventually):
    changing.version = 2
    changing.now_s += 1.5
    cache.invalidate("odds")
    once_more = changing.ask()
    eventually(changing.idle)

    assert once_more["body"] == b"version 1"
    assert once_more["headers"]["Cache-Status"] == "ProTipp; hit; ttl=-1; detail=outdated; age=1"
    assert once_more["headers"]["Cache-Control"].startswith("public, max-age=1, stale-while-reval")
    assert "max-age=1, stale-while-revalidate=0" in once_more["headers"]["CDN-Cache-Control"]
    assert changing.ask()["body"] == b"version 1"  # to the crowd of that moment
    changing.now_s += 0.1
    assert changing.ask()["body"] == b"version 2"


def test_an_outdated_answer_is_not_given_beyond_its_time(changing):
    changing.version = 2
    changing.now_s += 2.1
    cache.invalidate("odds")

    assert changing.ask()["body"] == b"version 2"


def test_a_caller_inside_gets_nothing_outdated(changing):
    changing.version = 2
    cache.invalidate("odds")

    assert changing.ask("unknown=1")["body"] == b"version 2"


def test_nothing_outdated_is_given_while_a_strict_change_is_open(changing, hearing):
    changing.version = 2
    hearing.poison(["odds"], b"holder")

    assert changing.ask()["body"] == b"version 2"


def test_what_stands_around_django_speaks_once_for_many_cached_answers(settings, hearing):
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    api, spoke = make_api(memory_s=60, ttl_s=600), []
    clock = SimpleNamespace(now_s=time.time())
    hearing.clock = lambda: clock.now_s

    def around(application):
        def speaking(environ, start_response):
            def start(status, headers, *rest):
                spoke.append(environ["PATH_INFO"])
                return start_response(status, [*headers, ("Link", "</style.css>")], *rest)

            return application(environ, start)

        return speaking

    urlpatterns[:] = [path("api/board", lambda request: cached_response(request, api, "epl"))]
    public_route("/api/board", api, arguments=lambda: ("epl",))
    site = Site(wsgi_cache(WSGIHandler(), around), [])
    answers = [site.ask() for _ in range(3)]  # Django's, and what the first push lets memory keep
    clock.now_s += 0.3  # no header changes now
    before = len(spoke)
    answers += [site.ask() for _ in range(20)]

    assert {answer["headers"]["Link"] for answer in answers} == {"</style.css>"}
    assert {answer["body"] for answer in answers} == {BODY}
    assert len(spoke) <= before + 1
    assert site.ask(method="POST")["headers"]["Link"] == "</style.css>"


def test_an_answer_that_was_made_ends_with_what_it_was_made_of(site, hearing, eventually):
    for _ in range(3):
        site.ask()
    hit = site.ask()
    assert "hit" in hit["headers"]["Cache-Status"]
    seen = len(site.seen)

    cache.invalidate("sport:epl")
    assert site.ask()["headers"]["Cache-Status"].startswith("ProTipp; fwd=uri-miss")
    assert len(site.seen) == seen + 1


def test_an_answer_too_large_to_be_kept_ready_is_given_all_the_same(site, monkeypatch):
    monkeypatch.setattr(wsgi, "LARGEST_MADE_BYTES", 100)
    for _ in range(3):
        site.ask()

    assert "hit" in site.ask()["headers"]["Cache-Status"]
    assert site.ask()["body"] == BODY
    assert not len(site.application._made)


def test_head_through_the_wrapper_has_no_body(site):
    site.ask()

    head = site.ask(method="HEAD")
    assert head["body"] == b""
    assert head["headers"]["Content-Length"] == str(len(BODY))
    assert len(site.seen) == 1
