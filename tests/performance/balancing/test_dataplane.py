"""Nothing fails while nodes die, leave, come and the proxy reloads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from performance.balancing import haproxy, reconcile
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import Fenced, ProxyConfigRefused, ProxyUnreachable
from performance.balancing.installing import haproxy_binary
from performance.balancing.nodes import Node
from performance.balancing.runtime import Master, Runtime

from .conftest import held, load, wait_for

pytestmark = pytest.mark.stack


def send(cluster, token=1):
    return reconcile.write_and_send(
        cluster.site, list(cluster.nodes.values()), cluster.options, token, haproxy_binary()
    )


def test_a_node_killed_under_load_fails_no_get(cluster):
    three = cluster("web-1", "web-2", "web-3")
    with load(three) as seen:
        seen.more()
        three.kill("web-2")
        wait_for(lambda: three.runtime.view().of("web")["web-2"].status == "DOWN", "web-2 down")
        seen.more()

    assert seen["failed"] == 0


def test_a_keyed_post_is_tried_again_elsewhere_when_its_node_dies(cluster):
    two = cluster("web-1", "web-2")
    key = {"Idempotency-Key": "k1"}

    answers = [two.ask("/die?web-1", method="POST", headers=key, body=b"x") for _ in range(4)]

    assert [answer.status for answer in answers] == [200] * 4
    assert two.processes["web-1"].wait(10) is not None  # it did die of one of them


def test_a_post_without_a_key_is_never_sent_twice(cluster):
    two = cluster("web-1", "web-2")

    lost = two.ask("/die", method="POST", body=b"x")

    assert lost.status == 502
    assert b"may or may not have happened" in lost.body
    assert two.ask("/").status == 200  # so the other node was not killed by a second try


def test_least_connections_spares_the_busy_node(cluster):
    two = cluster("web-1", "web-2")
    two.await_full_weight("web-1", "web-2")
    with held(two):
        busy = {server.sessions: name for name, server in two.runtime.view().of("web").items()}[1]
        answered = [two.ask("/").headers["x-node"] for _ in range(20)]

    # One that has just answered may count as at work for a moment more, and then both are alike.
    assert answered.count(busy) < 5


def test_a_drained_node_ends_what_it_has_and_gets_nothing_new(cluster):
    two = cluster("web-1", "web-2")
    with load(two) as seen:
        seen.more()
        two.nodes["web-1"] = two.nodes["web-1"].drained()
        send(two)
        wait_for(lambda: two.runtime.view().of("web")["web-1"].sessions == 0, "an empty node")
        two.kill("web-1")
        two.nodes.pop("web-1")
        _, left = send(two)
        seen.more()

    assert seen["failed"] == 0
    assert left == []
    assert set(two.runtime.view().of("web")) == {"web-2"}


def test_a_node_added_at_run_time_outlives_eight_reloads_and_nothing_fails(cluster):
    grows = cluster("web-1")
    grows.start_node("web-2")
    grows.await_node("web-2")
    with load(grows) as seen:
        send(grows)
        grows.await_up("web-1", "web-2")
        for _ in range(8):
            Master(grows.site.master_path).reload()
            seen.more(30)

    assert seen["failed"] == 0
    assert seen["web-2"] > 0
    assert set(grows.runtime.view().of("web")) == {"web-1", "web-2"}


def test_changed_settings_reload_by_themselves_once_and_lose_nothing(cluster):
    one = cluster("web-1")
    one.options = replace(one.options, policy="roundrobin", queue_timeout_s=2.0)
    with load(one) as seen:
        before = one.runtime.ask("show info")
        send(one)
        wait_for(lambda: one.runtime.view().digest == digest(one), "the new file")
        reloaded = one.runtime.ask("show info")
        send(one)

    assert seen["failed"] == 0
    assert pid(before) != pid(reloaded) == pid(one.runtime.ask("show info"))


def digest(cluster):
    return haproxy.digest_of(haproxy.read_config(cluster.site))


def pid(info):
    return next(line for line in info.splitlines() if line.startswith("Pid:"))


def test_sending_the_same_list_twice_changes_nothing(cluster):
    one = cluster("web-1")
    send(one)

    assert reconcile.plan(list(one.nodes.values()), one.runtime.view()) == []


def test_a_node_that_comes_back_on_another_port_is_followed(cluster):
    one = cluster("web-1", "web-2")
    with load(one) as seen:
        one.kill("web-1")
        one.start_node("web-1")
        one.await_node("web-1")
        send(one)
        one.await_up("web-1")

    assert seen["failed"] == 0, seen
    assert one.runtime.view().of("web")["web-1"].address == one.nodes["web-1"].address


def test_when_every_check_fails_requests_are_tried_all_the_same(cluster):
    one = cluster("web-1")
    one.runtime.change("set server web/web-1 health down")

    assert one.ask("/").status == 200


def test_without_any_node_the_answer_says_when_to_come_back(cluster):
    none = cluster("web-1")
    none.kill("web-1")

    with ThreadPoolExecutor() as both:  # each is tried for a second before it is given up
        page, answer = both.map(none.ask, ("/", "/api/v1/odds"))

    assert page.status == answer.status == 503
    assert page.headers["retry-after"] == "2"
    assert b"<h1>Busy</h1>" in page.body
    assert answer.headers["content-type"] == "application/json"
    assert b"no_free_node" in answer.body
    assert page.headers["cache-control"] == "no-store"


def test_a_full_house_queues_for_its_limit_and_then_says_so(cluster):
    small = cluster(options=replace(BalancingConf(), queue_timeout_s=0.3))
    small.start_node("web-1", slots=1)
    send(small)
    small.await_node("web-1")
    small.await_up("web-1")
    with held(small) as kept:
        began = time.monotonic()
        refused = small.ask("/")
        waited_s = time.monotonic() - began

    assert refused.status == 503
    assert waited_s > 0.2  # it waited for its turn
    assert kept[0].status == 200
    assert small.ask("/").status == 200


def test_a_file_that_haproxy_refuses_leaves_the_old_one(cluster):
    one = cluster("web-1")
    good = haproxy.read_config(one.site)

    with pytest.raises(ProxyConfigRefused, match="unknown keyword 'nonsense'"):
        haproxy.install(one.site, good + "\nnonsense\n", haproxy_binary())

    assert haproxy.read_config(one.site) == good
    assert not list(one.directory.glob("*.new"))


def test_a_leader_that_was_overtaken_sends_nothing(cluster):
    one = cluster("web-1")
    send(one, token=7)
    one.nodes["web-9"] = Node(id="web-9", kind="web", address="127.0.0.1:9", slots=1)

    with pytest.raises(Fenced, match="token 7 leads now; this one has 6"):
        send(one, token=6)

    assert "web-9" not in haproxy.read_config(one.site)
    assert "web-9" not in one.runtime.view().of("web")


def test_a_proxy_that_is_away_is_named_in_time(tmp_path):
    began = time.monotonic()

    with pytest.raises(ProxyUnreachable, match="PROTIPP_HAPROXY_DIR"):
        Runtime(tmp_path / "admin.sock").view()

    assert time.monotonic() - began < 10
