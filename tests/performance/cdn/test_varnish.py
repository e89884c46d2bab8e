"""Our VCL in a real Varnish: what it keeps, forgets, refuses, and says while the origin is down."""

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.management import call_command

from performance.cdn import services
from performance.cdn.models import Purge
from tests.conftest import program

from . import edges

pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def site():
    """Varnish and its origin, shared by the tests of this file: each asks paths of its own."""
    program("varnishd")
    folder = Path(tempfile.mkdtemp(prefix="protipp-varnish-"))
    origin = edges.Origin()
    varnish = edges.Varnish(folder, origin.server_port)
    varnish.origin = origin
    yield varnish
    varnish.kill()
    varnish.origin.end()
    shutil.rmtree(folder)


@pytest.fixture
def manager(site, settings, transactional_db):
    own = {"provider": "varnish", "varnish_urls": (site.address,), "base_url": site.address}
    settings.PERFORMANCE = {"CDN": own}
    return services.manager


def until(true, within_s=30):
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)
    return found


def public(site, path, *tags, **more):
    site.origin.answers[path] = (200, {**edges.PUBLIC, "Surrogate-Key": " ".join(tags), **more})


def test_a_tag_purge_forgets_its_answers_and_no_others(site, manager):
    public(site, "/t/a", "event:1", "sport:a")
    public(site, "/t/b", "event:2", "sport:a")
    for path in ("/t/a", "/t/b", "/t/a", "/t/b"):
        site.get(path)
    purge = manager.purge(tags=["event:1"], soft=False)
    purge.refresh_from_db()

    assert (purge.state, purge.answer) == (Purge.State.SENT, "Removed 1")
    assert site.get("/t/a")[2] == "/t/a 2"
    assert site.get("/t/b")[2] == "/t/b 1"


def test_a_soft_purge_serves_the_old_answer_while_the_new_one_is_fetched(site, manager):
    public(site, "/s/a", "soft:1")
    site.get("/s/a")
    manager.purge(tags=["soft:1"])

    assert site.get("/s/a")[2] == "/s/a 1"
    until(lambda: site.get("/s/a")[2] == "/s/a 2")


def test_a_path_a_prefix_and_everything_can_be_forgotten(site, manager):
    for path in ("/u/one", "/u/two", "/u/a+b(c", "/v/three"):
        site.get(path)
    manager.purge(urls=["/u/one"], soft=False)
    assert [site.get(path)[2][-1] for path in ("/u/one", "/u/two")] == ["2", "1"]
    manager.purge(urls=["/u/a+b*"], soft=False)
    assert [site.get(path)[2][-1] for path in ("/u/a+b(c", "/u/two")] == ["2", "1"]
    manager.purge_all(soft=False)
    assert [site.get(path)[2][-1] for path in ("/u/two", "/v/three")] == ["2", "2"]


def test_a_soft_purge_of_a_path_serves_it_stale_once_more(site, manager):
    site.get("/w/one")
    manager.purge(urls=["/w/one"])

    assert site.get("/w/one")[2] == "/w/one 1"
    until(lambda: site.get("/w/one")[2] == "/w/one 2")


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (200, {"Set-Cookie": "csrftoken=x"}),
        (200, {"Cache-Control": "private, max-age=60"}),
        (200, {"CDN-Cache-Control": "no-store"}),
        (200, {"Vary": "Cookie"}),
        (200, {"Cache-Control": "max-age=60"}),
        (302, {"Location": "/admin/login/"}),
        (500, {}),
    ],
    ids=["cookie", "private", "no-store", "vary", "not public", "redirect", "error"],
)
def test_what_is_not_for_everybody_is_never_kept(site, status, changed):
    path = f"/p/{status}-{len(site.origin.answers)}"
    site.origin.answers[path] = (status, {**edges.PUBLIC, **changed})
    before = [site.get(path)[0] for _ in range(2)]

    assert before == [status, status]
    assert site.origin.count(path) >= 2


@pytest.mark.parametrize("header", [{"Cookie": "a=1; sessionid=x"}, {"Authorization": "Bearer x"}])
def test_who_is_somebody_is_never_answered_from_memory(site, header):
    site.get("/who")
    before = site.origin.count("/who")
    site.get("/who", **header)

    assert site.origin.count("/who") > before


def test_no_made_up_host_or_header_makes_a_second_copy(site):
    site.get("/host", Host="a.example")
    site.get("/host", Host="b.example", X_Edge_Fresh="1", X_Edge_Stale="1")

    assert site.origin.count("/host") == 1


def test_browsers_do_not_see_tags(site):
    public(site, "/seen", "event:9")
    _, headers, _ = site.get("/seen")

    assert not {"surrogate-key", "xkey", "cdn-cache-control", "x-varnish"} & {
        name.lower() for name in headers
    }
    assert site.get("/seen")[1]["Cache-Status"].startswith("edge; hit; ttl=")


def test_a_purge_that_a_proxy_handed_on_is_refused(site):
    site.get("/stranger")
    status, _, _ = site.get("/", "PURGE", xkey_purge="page", X_Forwarded_For="203.0.113.5")

    assert status == 403
    assert site.get("/stranger")[2] == "/stranger 1"


def test_many_cold_clients_of_one_answer_ask_the_origin_once(site):
    site.origin.delay_s = 0.2
    with ThreadPoolExecutor(50) as pool:
        said = set(pool.map(lambda _: site.get("/cold")[2], range(50)))
    site.origin.delay_s = 0

    assert said == {"/cold 1"}
    assert site.origin.count("/cold") == 1


def test_with_the_origin_dead_the_edge_still_answers_stale_and_comes_back(site):
    age = "public, max-age=1, stale-while-revalidate=1, stale-if-error=600"
    public(site, "/dead", "d", **{"CDN-Cache-Control": age})
    site.get("/dead")
    port, old = site.origin.server_port, site.origin
    old.end()
    time.sleep(2.2)  # beyond what may be served while it is fetched anew

    assert [site.get("/dead")[::2] for _ in range(5)] == [(200, "/dead 1")] * 5
    assert site.get("/never-seen")[0] == 503
    site.origin = edges.Origin(port)
    until(lambda: site.get("/dead")[2] == "/dead 1" and site.origin.count("/dead") == 1)
    until(lambda: site.get("/never-seen")[0] == 200)


def test_an_origin_that_fails_does_not_replace_what_is_kept(site):
    age = "public, max-age=1, stale-while-revalidate=1, stale-if-error=600"
    public(site, "/fails", "f", **{"CDN-Cache-Control": age})
    site.get("/fails")
    time.sleep(2.2)
    site.origin.answers["/fails"] = (500, {})

    assert site.get("/fails")[::2] == (200, "/fails 1")


def test_the_command_purges_and_reads_back(site, manager, capsys):
    site.get("/back")
    call_command("purge_cdn", "--url", "/back", "--check")

    assert "read back" in capsys.readouterr().out
