"""What each edge is told, in its own words and within its limits, and what its answers mean."""

import json
import logging

import pytest

from performance.cdn import edging, services
from performance.cdn.errors import (
    LimitReached,
    ProviderRefused,
    ProviderUnreachable,
    WrongCredentials,
)
from performance.cdn.models import Purge
from performance.cdn.providers import base, calls, choosing

APIS = ("cloudflare", "fastly", "bunny")
YES = {"cloudflare": '{"success": true, "result": {"id": "p1"}}', "fastly": "{}", "bunny": ""}


@pytest.fixture
def api(recorder, settings):
    """Take one provider's API's place: `api("fastly")` returns the provider."""

    def be(name, **options):
        recorder.body = YES[name]
        own = {
            "provider": name,
            "zone": "zone1",
            "token": "secret-key",
            "api_url": recorder.address,
            "base_url": "https://odds.example.com",
            "timeout_s": 5,
        }
        settings.PERFORMANCE = {"CDN": own | options}
        return choosing.provider()

    return be


def purge(edge, urls=(), tags=(), soft=False):
    return edge.purge(reference="r", urls=list(urls), tags=list(tags), soft=soft)


def test_cloudflare_takes_a_hundred_items_a_request(api, recorder):
    receipt = purge(api("cloudflare"), urls=["/a", "/b/*"], tags=[f"t{n}" for n in range(150)])

    assert [list(body) for body in recorder.bodies] == [["tags"], ["tags"], ["files"], ["prefixes"]]
    assert [len(next(iter(body.values()))) for body in recorder.bodies] == [100, 51, 1, 1]
    assert recorder.bodies[2] == {"files": ["https://odds.example.com/a"]}
    assert recorder.bodies[3] == {"prefixes": ["odds.example.com/b/"]}
    assert recorder.told[0][0] == "/zones/zone1/purge_cache"
    assert recorder.told[0][1]["Authorization"] == "Bearer secret-key"
    assert receipt.calls == 4


def test_fastly_takes_256_keys_a_request_soft_or_hard(api, recorder):
    purge(api("fastly"), urls=["/a"], tags=[f"t{n}" for n in range(300)], soft=True)

    assert [len(body["surrogate_keys"]) for body in recorder.bodies if body] == [256, 45]
    assert [path for path, _ in recorder.told] == [
        *["/service/zone1/purge"] * 2,
        "/purge/odds.example.com/a",
    ]
    assert all(headers["Fastly-Soft-Purge"] == "1" for _, headers in recorder.told)


def test_fastly_says_that_it_knows_no_prefixes(api):
    with pytest.raises(ProviderRefused, match=r"prefixes.*by a tag"):
        purge(api("fastly"), urls=["/a/*"])


def test_bunny_takes_one_tag_a_request_and_the_whole_zone_beyond_fifty(api, recorder):
    edge = api("bunny")
    purge(edge, urls=["/a"], tags=["t"])

    assert recorder.bodies == [{"CacheTag": "t"}, {"CacheTag": base.OVERFLOW}, None]
    assert recorder.told[2][0].startswith("/purge?url=https%3A%2F%2Fodds.example.com%2Fa")
    assert recorder.told[0][1]["AccessKey"] == "secret-key"
    purge(edge, tags=[f"t{n}" for n in range(60)])
    assert (len(recorder.told), recorder.bodies[-1]) == (4, None)


@pytest.mark.parametrize(
    ("name", "header", "most", "limit_bytes"),
    [
        ("varnish", "Surrogate-Key", 500, 7_000),
        ("cloudfront", "Cache-Tag", 50, 1_783),
        ("cloudflare", "Cache-Tag", 1_000, 16_384),
        ("fastly", "Surrogate-Key", 1_000, 16_384),
        ("bunny", "CDN-Tag", 1_000, 1_024),
    ],
)
def test_an_answer_with_too_many_tags_is_still_found_by_each_of_them(
    name, header, most, limit_bytes
):
    edge = choosing.named(name)
    tags = [f"event:{number:032d}" for number in range(2_000)]
    value = edge.headers(tags)[header]
    named = value.replace(",", " ").split()

    assert len(value) <= limit_bytes
    assert len(named) <= most
    assert named[-1] == base.OVERFLOW
    assert base.OVERFLOW in base.with_overflow(tags[-1:])


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_told_apart_and_not_tried_again(api, recorder, db, name, status, caplog):
    api(name)
    recorder.status, recorder.body = status, '{"errors": []}'
    with caplog.at_level(logging.CRITICAL):
        services.manager.purge(tags=["a"])
        services.manager.deliver()

    row = Purge.objects.get()
    assert (row.state, row.trouble, row.attempts) == ("failed", "credentials", 1)
    assert "CDN_TOKEN" in row.answer
    assert "secret-key" not in row.answer


@pytest.mark.parametrize("name", APIS)
def test_a_limit_is_told_apart_and_waited_out(api, recorder, db, name):
    api(name)
    recorder.status, recorder.says = 429, {"Retry-After": "120"}
    services.manager.purge(tags=["a"])
    services.manager.deliver()

    row = Purge.objects.get()
    assert (row.state, row.trouble) == ("pending", "limit")
    assert (row.next_attempt_at - row.created_at).total_seconds() > 100


@pytest.mark.parametrize("name", APIS)
def test_html_in_place_of_json_is_no_answer(api, recorder, name):
    edge = api(name)
    recorder.body = "<html>log in, please</html>"
    with pytest.raises(ProviderUnreachable, match=r"no JSON.*log in"):
        purge(edge, tags=["a"])


@pytest.mark.parametrize(
    ("code", "kind"),
    [(10000, WrongCredentials), (10013, LimitReached), (1012, ProviderRefused)],
)
def test_cloudflares_200_with_an_error_in_it_is_an_error(api, recorder, code, kind):
    edge = api("cloudflare")
    said = {"success": False, "errors": [{"code": code, "message": "its words"}]}
    recorder.body = json.dumps(said)
    with pytest.raises(kind, match=f"{code} its words") as raised:
        purge(edge, tags=["a"])

    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("name", "body"), [("fastly", '{"status": "no"}'), ("bunny", '{"ErrorKey": "x"}')]
)
def test_another_200_with_an_error_in_it_is_one_too(api, recorder, name, body):
    edge = api(name)
    recorder.body = body
    with pytest.raises(ProviderRefused, match="said no"):
        purge(edge, tags=["a"])


@pytest.mark.parametrize("name", APIS)
def test_a_provider_that_cannot_be_reached_is_tried_again(api, name):
    edge = api(name, api_url="http://127.0.0.1:9")
    with pytest.raises(ProviderUnreachable, match="did not answer"):
        purge(edge, tags=["a"])


def test_a_key_is_sent_by_https_only_and_follows_no_redirect(api, recorder):
    with pytest.raises(ProviderRefused, match="https only"):
        purge(api("fastly", api_url="http://api.example.com"), tags=["a"])
    edge = api("fastly")
    recorder.status, recorder.says = 302, {"Location": "https://elsewhere.example.com/"}
    with pytest.raises(ProviderRefused, match="redirect is not followed"):
        purge(edge, tags=["a"])


def test_an_endless_answer_is_cut_off(api, recorder):
    edge = api("bunny")
    recorder.body = "x" * (calls.LONGEST_ANSWER_BYTES + 1)
    with pytest.raises(ProviderUnreachable, match="more than 64 KB"):
        purge(edge, tags=["a"])


@pytest.mark.parametrize("name", APIS)
def test_everything_is_one_request(api, recorder, db, name):
    api(name)
    services.manager.purge_all(soft=False)
    services.manager.deliver()

    assert Purge.objects.get().state == "sent"
    assert len(recorder.told) == 1


def test_an_edge_that_cannot_soften_all_is_told_the_tag_of_all(api, recorder, db):
    api("fastly")
    services.manager.purge_all(soft=True)
    services.manager.deliver()

    assert recorder.bodies == [{"surrogate_keys": ["site", base.OVERFLOW]}]


# --- what answers tell an edge ------------------------------------------------------------------

PUBLIC = [
    ("Cache-Control", "public, max-age=1"),
    ("CDN-Cache-Control", "public, max-age=5, stale-while-revalidate=30"),
    ("Surrogate-Key", "sport:a"),
    ("Cache-Tag", "sport:a"),
]


@pytest.mark.parametrize(
    ("name", "header", "value", "age"),
    [
        ("varnish", "Surrogate-Key", "site section:/api sport:a", "CDN-Cache-Control"),
        ("cloudfront", "Cache-Tag", "site,section:/api,sport:a", "Cache-Control"),
        ("cloudflare", "Cache-Tag", "site,section:/api,sport:a", "CDN-Cache-Control"),
        ("fastly", "Surrogate-Key", "site section:/api sport:a", "Surrogate-Control"),
        ("bunny", "CDN-Tag", "site,section:/api,sport:a", "Cache-Control"),
    ],
)
def test_each_edge_hears_tags_and_age_in_its_own_header_only(name, header, value, age):
    told = dict(edging.told(PUBLIC, "/api/v1/odds", choosing.named(name)))

    assert told[header] == value
    assert "5" in told[age]
    assert len({"Surrogate-Key", "Cache-Tag", "CDN-Tag"} & told.keys()) == 1


def test_an_answer_that_sets_a_cookie_invites_no_edge():
    headers = [*PUBLIC, ("Set-Cookie", "csrftoken=x")]
    told = dict(edging.told(headers, "/", choosing.named("varnish")))

    assert told["Cache-Control"] == "private, no-cache"
    assert not {"Surrogate-Key", "Cache-Tag", "CDN-Cache-Control"} & told.keys()


def test_a_private_answer_loses_its_tags():
    headers = [("Cache-Control", "private, no-cache"), *PUBLIC[1:]]
    told = dict(edging.told(headers, "/", choosing.named("fastly")))

    assert told == {"Cache-Control": "private, no-cache"}


# --- the budget ---------------------------------------------------------------------------------


def test_many_urls_become_one_purge_of_their_section(api, recorder, db):
    api("fastly", urls_per_minute=20)
    services.manager.purge(urls=[f"/events/{n}/" for n in range(15)])
    purge = services.manager.purge(urls=[f"/events/{n}/" for n in range(15, 30)])

    assert (purge.urls, purge.tags) == ([], ["section:/events"])
    assert "15 of 20" in purge.note


def test_too_many_urls_of_the_whole_site_become_its_tag(api, db):
    api("fastly", urls_per_minute=1)
    purge = services.manager.purge(urls=["/", "/arbitrage/"])

    assert purge.tags == ["site"]
