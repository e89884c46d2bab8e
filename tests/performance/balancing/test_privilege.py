"""Who goes first when nodes are full, and how requests are spread."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse

from performance.balancing import haproxy, reconcile
from performance.balancing.conf import POLICIES, BalancingConf
from performance.balancing.installing import haproxy_binary
from performance.balancing.marking import mark_privileged
from performance.balancing.nodes import Node
from performance.balancing.steering import weighed

from .conftest import held, load, queued, wait_for

pytestmark = pytest.mark.stack
STAFF = {"Cookie": "sessionid=staff"}
KEY = {"Authorization": "Bearer key"}


@pytest.fixture
def full(cluster):
    """A node with one slot; the proxy has heard who is staff and who has a key."""
    small = cluster(options=replace(BalancingConf(), queue_timeout_s=20, shed_above=2))
    small.start_node("web-1", slots=1)
    send(small)
    small.await_node("web-1")
    small.await_up("web-1")
    for headers in (STAFF, KEY):
        small.ask("/staff", headers=headers)
    return small


class Waiting:
    """Requests that wait in the queue, each from a thread of its own."""

    def __init__(self, cluster):
        self._cluster, self._threads = cluster, []
        self._answers = {}

    def come(self, name, **options):
        """Let one more come, and return once it waits."""
        before = queued(self._cluster)

        def ask():
            self._answers[name] = self._cluster.ask("/", timeout_s=60, **options)

        self._threads.append(threading.Thread(target=ask))
        self._threads[-1].start()
        wait_for(lambda: queued(self._cluster) > before, f"{name} in the queue")

    def answered(self):
        """Return who was served, in the node's own order; all must have been."""
        for thread in self._threads:
            thread.join()
        turns = {name: int(one.headers["x-turn"]) for name, one in self._answers.items()}
        return sorted(turns, key=turns.get)


def send(cluster):
    return reconcile.write_and_send(
        cluster.site, list(cluster.nodes.values()), cluster.options, 1, haproxy_binary()
    )


def test_staff_and_keys_are_served_before_those_who_came_earlier(full):
    waiting = Waiting(full)
    with held(full):
        waiting.come("somebody", headers={"Cookie": "sessionid=somebody"})
        waiting.come("staff", headers=STAFF)
        waiting.come("key", headers=KEY)

    assert waiting.answered() == ["staff", "key", "somebody"]


def test_a_grown_queue_sheds_nobody_in_particular_at_once_and_keeps_staff(full):
    kept = "/static/kept.js"
    assert full.ask(kept).status == 200
    waiting = Waiting(full)
    with held(full, count=4):  # one at work, three in the queue
        waiting.come("staff", headers=STAFF)
        stranger = full.ask("/")
        hit = full.ask(kept)

    assert stranger.status == 503
    assert stranger.headers["retry-after"] == "2"
    assert waiting.answered() == ["staff"]
    assert hit.status == 200  # what is kept is given out whatever waits


def test_the_mark_never_reaches_a_client(full):
    answer = full.ask("/staff", headers=STAFF)

    assert answer.status == 200
    assert "x-privileged" not in answer.headers


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_takes_nodes_at_run_time_and_can_be_changed_under_load(site, policy):
    with load(site, threads=2) as seen:
        text = haproxy.render(
            site.site, site.nodes.values(), replace(site.options, policy=policy), 2
        )
        haproxy.install(site.site, text, haproxy_binary())
        reconcile.Master(site.site.master_path).reload()
        third = replace(site.nodes["web-1"], id="web-3")
        site.runtime.add(
            "web", "web-3", haproxy.server_words(third, site.options, panic=False), checked=True
        )
        site.await_up("web-1", "web-2", "web-3")
        seen.more(20)

    assert seen["failed"] == 0


SESSIONS = replace(BalancingConf(), policy="session", queue_timeout_s=10)


def test_a_session_stays_with_its_node_and_strangers_are_spread(cluster):
    two = cluster("web-1", "web-2", options=SESSIONS)

    def node_of(name):
        return two.ask("/", headers={"Cookie": f"sessionid={name}"}).headers["x-node"]

    two.await_full_weight("web-1", "web-2")
    first = {name: node_of(name) for name in "abcdef"}
    with load(two, threads=3):  # others' requests, open at any moment, move nobody
        again = [{name: node_of(name) for name in first} for _ in range(5)]

    assert again == [first] * 5
    assert len({two.ask("/").headers["x-node"] for _ in range(40)}) == 2


def test_a_session_waits_for_its_full_node_and_leaves_a_dead_one(cluster):
    two = cluster(options=SESSIONS)
    for name in ("web-1", "web-2"):
        two.start_node(name, slots=1)
    send(two)
    two.await_up("web-1", "web-2")
    two.await_full_weight("web-1", "web-2")
    session = {"Cookie": "sessionid=ann"}
    home = two.ask("/", headers=session).headers["x-node"]
    waiting = Waiting(two)
    with held(two, headers=session) as at_home:
        waiting.come("ann", headers=session)
        assert two.runtime.view().of("web")[home].queued == 1
    served = waiting.answered()
    two.kill(home)
    moved = [two.ask("/", headers=session) for _ in range(3)]

    assert at_home[0].headers["x-node"] == home
    assert served == ["ann"]
    assert [answer.status for answer in moved] == [200] * 3
    assert {answer.headers["x-node"] for answer in moved} == {"web-1", "web-2"} - {home}


def test_a_weight_set_by_hand_moves_requests_without_a_reload(cluster):
    two = cluster("web-1", "web-2", options=replace(BalancingConf(), policy="weighted"))
    two.await_full_weight("web-1", "web-2")
    before = two.runtime.view().digest
    nodes = weighed(list(two.nodes.values()), {"web-1": 10}, "weighted")
    reconcile.write_and_send(two.site, nodes, two.options, 1, haproxy_binary())
    answered = [two.ask("/").headers["x-node"] for _ in range(44)]

    assert answered.count("web-1") < 12  # 4 of 44 are its share
    assert two.runtime.view().digest == before
    assert reconcile.plan(nodes, two.runtime.view()) == []


def test_what_a_node_announces_of_its_weight_is_not_believed(tmp_path):
    heavy = Node(id="web-1", kind="web", address="127.0.0.1:1", slots=8, weight=256)

    assert [node.weight for node in weighed([heavy], {}, "leastconn")] == [100]


@pytest.mark.django_db
@pytest.mark.parametrize("privileged", [True, False], ids=["staff", "visitor"])
def test_answers_are_marked_for_staff_only_and_cost_no_query(
    rf, django_assert_num_queries, privileged
):
    request = rf.get("/")
    request.user = get_user_model()(is_staff=True) if privileged else AnonymousUser()
    with django_assert_num_queries(0):
        answer = mark_privileged(lambda request: HttpResponse())(request)

    assert answer.headers.get("X-Privileged") == ("staff" if privileged else None)
