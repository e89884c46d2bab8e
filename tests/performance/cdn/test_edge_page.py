"""What the CDN page shows and lets staff do, and where its numbers come from."""

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from performance.cdn import asking, cache_status, counters, health, services, showing
from performance.cdn.models import EdgeEvent, Purge, StaticBuild
from performance.core import acts


@pytest.mark.parametrize(
    ("header", "hit"),
    [
        ("ProTipp; hit; ttl=2, edge; fwd=uri-miss; stored", False),
        ("ProTipp; fwd=uri-miss, edge; hit; ttl=-3", True),
        ('"odd, name"; hit', True),
        ("", None),
        (";;;,,,", None),
    ],
)
def test_the_cache_nearest_to_the_browser_says_whether_it_was_a_hit(header, hit):
    assert cache_status.edge_hit({"cache-status": header}) is hit


@pytest.mark.parametrize(
    ("name", "value", "hit"),
    [
        ("cf-cache-status", "HIT", True),
        ("x-cache", "Hit from cloudfront", True),
        ("x-cache", "HIT, MISS", False),
        ("cdn-cache", "MISS", False),
    ],
)
def test_edges_with_words_of_their_own_are_understood(name, value, hit):
    assert cache_status.edge_hit({name: value}) is hit


def sample(at, hits, misses, sent, fetched):
    return counters.Sample(at, hits, 0, misses, sent, fetched)


def test_hit_ratio_and_saved_bytes_are_what_the_counters_grew_by():
    share = counters.share([sample(0, 10, 10, 1000, 500), sample(60, 100, 20, 11_000, 1500)])

    assert (share.requests, share.hit_ratio, share.saved_bytes) == (100, 0.9, 9_000)


def test_an_edge_that_starts_anew_counts_from_nothing():
    share = counters.share([sample(0, 900, 100, 9, 9), sample(10, 8, 2, 0, 0)])

    assert (share.requests, share.hit_ratio) == (10, 0.8)


def test_one_sample_says_nothing():
    assert counters.share([sample(0, 1, 1, 1, 1)]) is None


def test_what_varnishstat_says_is_read_and_other_json_is_refused():
    said = {
        "counters": {
            "MAIN.cache_hit": {"value": 7},
            "MAIN.cache_miss": {"value": 3},
            "MAIN.s_resp_bodybytes": {"value": 100},
            "VBE.reload.origin.beresp_bodybytes": {"value": 40},
        }
    }
    found = counters.sample(said, now=1)

    assert (found.hits, found.misses, found.sent_bytes, found.fetched_bytes) == (7, 3, 100, 40)
    with pytest.raises(ValueError, match="no counters"):
        counters.sample({"counters": []}, now=1)


def test_an_edge_that_fails_is_out_and_back_with_an_event_for_each(edge, db, monkeypatch):
    monkeypatch.setattr(health, "REMEMBER_S", 0)
    edge.status = 503
    for _ in range(2):
        services.probe()
    assert services.manager.url("/static/a.css") == "/static/a.css"
    edge.status = 200
    for _ in range(3):
        services.probe()

    assert services.manager.healthy()
    assert [event.healthy for event in EdgeEvent.objects.all()] == [True, False]
    assert "503" in EdgeEvent.objects.last().detail


def test_an_edge_that_asks_for_a_login_is_not_well(edge, db):
    edge.status = 403
    services.probe()

    assert "403" in health.read().detail


def test_two_processes_never_probe_at_once(edge, db):
    from performance.core import stores

    stores.bus().set(health.PROBING, 1, px=5000)
    assert services.probe() is None
    assert edge.told == []


def test_an_edge_is_out_of_the_urls_within_five_seconds_by_the_settings_alone():
    from performance.cdn.conf import CdnConf

    options = CdnConf()
    each_s = options.probe_every_s + options.probe_timeout_s
    assert options.unhealthy_after * each_s + health.REMEMBER_S < 5


def test_varnishes_are_probed_where_no_address_is_public(edge, settings, db):
    own = {**settings.PERFORMANCE["CDN"], "base_url": ""}
    settings.PERFORMANCE = {"CDN": own}
    services.probe()

    assert [path for path, _ in edge.told] == ["/edge-health"]


def test_the_page_shows_all_of_it(admin_client, edge, transactional_db, monkeypatch):
    services.manager.purge(tags=["sport:a"])
    EdgeEvent.objects.create(provider="varnish", healthy=False, detail="503 in 4 ms")
    sizes = {"identity": 2048, "gzip": 900, "zstd": 800, "br": 700}
    StaticBuild.objects.create(
        manifest_hash="f" * 32, target="s3://x", files={"a": 1}, bytes_by_encoding=sizes
    )
    rows = [sample(0, 0, 0, 0, 0), sample(60, 90, 10, 4096, 1024)]
    monkeypatch.setattr(showing.counters, "kept", lambda: rows)
    html = admin_client.get("/admin/performance/cdn/").content.decode()

    for said in ("90.0 %", "75.0 %", "3.0 KB", "sport:a", "503 in 4 ms", "ffffffffffff", "2.0 KB"):
        assert said in html
    assert "Warm the edge" in html
    assert "Purge everything" in html


def test_the_page_costs_the_same_for_many_purges(edge, db, django_assert_max_num_queries):
    Purge.objects.bulk_create(Purge(provider="varnish", tags=["a"]) for _ in range(200))
    with django_assert_max_num_queries(8):
        services.overview()


@pytest.mark.parametrize(
    ("act", "codename"),
    [
        ("cdn.purge", "send_purge"),
        ("cdn.warm", "warm_edge"),
        ("cdn.purge_all", "purge_everything"),
    ],
)
def test_each_act_needs_a_permission_of_its_own(client, edge, db, act, codename):
    found = acts.get(act)
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_cdn"))
    client.force_login(user)
    answer = client.post(f"/admin/performance/acts/{act}/", {"tags": "a"})

    assert found.permission == f"performance_cdn.{codename}"
    assert answer.status_code in (403, 404)
    assert edge.told == []


def test_everything_is_purged_only_after_the_password_again():
    assert acts.get("cdn.purge_all").dangerous


def test_warming_asks_the_edge_for_each_path_and_says_what_was_there(edge, db):
    edge.says = {"Cache-Status": "edge; hit; ttl=4"}
    said = acts.get("cdn.warm").run(paths="/ /arbitrage/")

    assert sorted(path for path, _ in edge.told) == ["/", "/arbitrage/"]
    assert said.startswith("2 of 2 answered, 2 of them were there")


def test_warming_too_much_is_refused_by_number():
    form = acts.get("cdn.warm").form({"paths": " ".join(f"/{n}" for n in range(101))})

    assert "101 paths are too many" in str(form.errors)


def test_reading_back_tells_an_old_answer_from_a_new_one(edge, monkeypatch):
    monkeypatch.setattr(asking, "READ_BACK_WITHIN_S", 0)
    now = timezone.now().timestamp()
    edge.says = {"Cache-Status": "edge; hit; ttl=4", "Age": "300"}
    (old,) = services.read_back(["/a"], now - 10)
    edge.says = {"Cache-Status": "edge; hit; ttl=4", "Age": "2"}
    (new,) = services.read_back(["/a", "/b*"], now - 10)

    assert (old.fresh, new.fresh) == (False, True)
    assert "300 s old" in old.detail


def test_the_command_asks_before_it_purges_everything(edge, transactional_db, monkeypatch, capsys):
    from django.core.management import CommandError, call_command

    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError, match="Nothing was purged"):
        call_command("purge_cdn", "--all")
    call_command("purge_cdn", "--all", "--yes", "--json")

    assert [headers.get("purge-all") for _, headers in edge.told] == ["1"]
    assert json.loads(capsys.readouterr().out)["state"] == "sent"


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(edge, db, capsys):
    from django.core.management import call_command

    call_command("purge_cdn", "--tag", "a", "--url", "/b", "--dry-run")

    assert "1 tag and 1 URL at varnish" in capsys.readouterr().out
    assert edge.told == []
    assert not Purge.objects.exists()


@pytest.mark.parametrize(
    "url", ["/a/../b", "/%2e%2e/b", "//else.example/", "/ünïcode", "/a*b", "/" + "x" * 5000]
)
def test_a_path_that_leads_elsewhere_is_refused(edge, db, url):
    from performance.cdn.errors import InvalidPurge

    with pytest.raises(InvalidPurge) as raised:
        services.manager.purge(urls=[url])

    assert len(str(raised.value)) < 400


def test_a_path_with_a_query_is_a_path(edge, transactional_db):
    services.manager.purge(urls=["/api/v1/odds?sport=a&markets=h2h"])

    assert edge.told[0][0] == "/api/v1/odds?sport=a&markets=h2h"


def test_a_tag_of_ten_thousand_characters_is_refused_in_few_words(edge, db):
    from performance.cdn.errors import InvalidPurge

    with pytest.raises(InvalidPurge, match=r"\(10000 characters\)") as raised:
        services.manager.purge(tags=["x" * 10_000])

    assert len(str(raised.value)) < 300
