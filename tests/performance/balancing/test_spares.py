"""Nodes that wait: who counts as one, how many there are, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import RedisError

from performance.balancing import arrivals, services, spares
from performance.balancing.autoscaling import Scaler
from performance.balancing.balancer import Balancer
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import SupervisorFailed
from performance.balancing.kubernetes import KubernetesExecutor
from performance.balancing.models import Decision, DrainOrder, ScaleTarget
from performance.balancing.nodes import KINDS, Node
from performance.balancing.registry import Registry
from performance.balancing.site import Site
from performance.core import stores

OPTIONS = BalancingConf(
    min_web=2, max_web=3, forecast=False, tick_s=0.01, scale_every_s=1e-6, boot_grace_s=0.01
)


def node(name, *, spare=False, **more):
    kind, _, number = name.partition("-")
    return Node(
        id=name, kind=kind, address=f"127.0.0.{KINDS.index(kind) + 1}:{number}", slots=64,
        cpu_ratio=0.1, in_flight=0, spare=spare, **more,
    )  # fmt: skip


class Machine:
    """An executor whose nodes announce themselves at once, and the balancer over them."""

    name = "test"
    at_once = 1
    leaves_within_s = 0.05
    keeps_spares = True

    def __init__(self, directory, options=OPTIONS):
        self.nodes: dict[str, Node] = {"live-1": node("live-1")}
        self.asked: list[tuple[str, str]] = []
        self.options, self.directory = options, directory
        self.boots, self.refuses = True, False
        self.lead()

    def lead(self):
        """Let a new leader begin, as after the death of the last one."""
        site = Site(port=1, directory=self.directory)
        self.balancer = Balancer(site, stores.bus(), self.options, self, "true")
        return self

    def start(self, kind, node_id, *, spare=False):
        self.asked.append(("spare" if spare else "start", node_id))
        if self.refuses:
            raise SupervisorFailed("start", node_id, "no memory")
        if self.boots:
            self.nodes.setdefault(node_id, node(node_id, spare=spare))

    def stop(self, kind, node_id):
        self.asked.append(("stop", node_id))
        self.nodes.pop(node_id, None)

    def in_rotation(self, there, up):
        """Not asked for here."""

    def round(self, times=1):
        for _ in range(times):
            stores.bus().flushall()
            for one in self.nodes.values():
                Registry(stores.bus(), self.options).announce(one, 1)
            self.balancer.tick(token=1)
        return self

    def states(self):
        return {one["id"]: one["state"] for one in services.balancer.nodes()}

    def waiting(self):
        return sorted(name for name, state in self.states().items() if state == "spare")

    def working(self):
        return sorted(set(self.states()) - set(self.waiting()) - {"live-1"})

    def until(self, true, rounds=300):
        """Let rounds go by until something is true; the limits here are hundredths of seconds."""
        for _ in range(rounds):
            self.round()
            if true():
                return
        pytest.fail(f"after {rounds} rounds: {self.states()}, asked {self.asked}")


@pytest.fixture
def machine(tmp_path, monkeypatch, settings):
    settings.PERFORMANCE = {"BALANCING": {"min_web": 2, "max_web": 3}}

    def make(*names, boots=True, refuses=False, **options):
        made = Machine(tmp_path, replace(OPTIONS, **options))
        made.nodes |= {name: node(name) for name in names}
        made.boots, made.refuses = boots, refuses
        return made.round()

    return make


needs_rows = pytest.mark.django_db


def test_who_announces_itself_as_a_spare_waits_until_the_proxy_has_it():
    all_three = [node("web-1"), node("web-2", spare=True), node("web-3", spare=True)]

    nodes, waiting = spares.split(all_three, used={"web-2"})

    assert [one.id for one in nodes] == ["web-1", "web-2"]
    assert [one.id for one in waiting] == ["web-3"]


def test_a_spare_of_a_build_that_nobody_runs_goes_first():
    old, new = node("web-3", spare=True, build="a1"), node("web-4", spare=True, build="b2")

    assert [one.id for one, _ in spares.too_many([new, old], {"b2"}, 1)] == ["web-3"]
    assert [one.id for one, _ in spares.too_many([new, old], {"a1", "b2"}, 1)] == ["web-3"]
    assert spares.too_many([new], {"b2"}, 1) == []


@needs_rows
def test_one_waits_beside_the_nodes_and_a_row_says_so(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])

    assert site.working() == ["web-1", "web-2"]
    assert site.asked == [("spare", "web-3")]
    row = Decision.objects.get(action="spare")
    assert (row.node_id, row.reason) == ("web-3", "started ahead; 1 should wait")


@needs_rows
def test_a_spare_is_let_in_by_the_decision_itself_and_the_next_one_is_started(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    ScaleTarget.objects.create(kind="web", count=3, by="ann")
    site.asked.clear()
    site.round()

    assert site.working() == ["web-1", "web-2", "web-3"]
    assert "web-3" in (site.directory / "haproxy.cfg").read_text()
    assert ("start", "web-3") not in site.asked
    assert Decision.objects.get(action="scale_up").reason == (
        "set to 3 by ann; it waited as a spare"
    )
    site.until(lambda: site.waiting() == ["web-4"])
    site.round(20)
    assert site.asked == [("spare", "web-4")]  # and none beyond the most and one spare


@needs_rows
def test_a_dead_nodes_place_is_taken_by_the_spare(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    del site.nodes["web-2"]
    site.balancer._wanted = [one for one in site.balancer._wanted if one.id != "web-2"]
    site.round()

    assert site.working() == ["web-1", "web-3"]


@needs_rows
def test_a_spare_that_dies_and_stays_away_is_replaced(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    del site.nodes["web-3"]
    site.asked.clear()
    site.until(lambda: site.waiting())

    assert site.asked[0] == ("stop", "web-3")  # nothing is left that starts it again
    assert site.asked[1][0] == "spare"
    assert len(site.waiting()) == 1


@needs_rows
def test_a_spare_that_comes_back_by_itself_is_left_alone(machine):
    site = machine("web-1", "web-2", boot_grace_s=600)
    site.until(lambda: site.waiting() == ["web-3"])
    kept = site.nodes.pop("web-3")
    site.asked.clear()
    site.round(3)
    site.nodes["web-3"] = kept
    site.round(3)

    assert site.waiting() == ["web-3"]
    assert site.asked == []


@needs_rows
def test_the_spare_of_an_old_build_is_replaced(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    for name in ("web-1", "web-2"):
        site.nodes[name] = replace(site.nodes[name], build="b2")
    site.nodes["web-3"] = replace(site.nodes["web-3"], build="a1")
    site.until(lambda: ("stop", "web-3") in site.asked)

    assert "the build a1" in Decision.objects.filter(action="stop").latest("id").reason


@needs_rows
def test_spares_that_are_not_wanted_any_more_are_stopped(machine):
    site = machine("web-1", "web-2", spare_web=0)
    site.nodes["web-3"] = node("web-3", spare=True)
    site.until(lambda: "web-3" not in site.nodes)
    site.round(3)

    assert site.asked == [("stop", "web-3")]
    assert site.working() == ["web-1", "web-2"]


@needs_rows
def test_a_leader_killed_while_a_spare_boots_leaves_no_orphan(machine):
    site = machine("web-1", "web-2", boots=False)
    site.until(lambda: site.asked)
    site.lead().round(5)  # it knows nothing of that one, and asks for it by the same name
    site.boots = True
    site.nodes["web-3"] = node("web-3", spare=True)
    site.until(lambda: site.waiting() == ["web-3"])
    site.round(5)

    assert {name for _, name in site.asked} == {"web-3"}


@needs_rows
def test_a_leader_killed_after_letting_a_spare_in_is_followed_by_one_who_knows(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    ScaleTarget.objects.create(kind="web", count=3, by="ann")
    site.round()
    site.lead().round(3)

    assert site.working() == ["web-1", "web-2", "web-3"]  # it still announces itself as a spare


@needs_rows
def test_a_node_that_is_wanted_while_it_boots_as_a_spare_is_let_in(machine):
    site = machine("web-1", "web-2", boots=False)
    site.until(lambda: site.asked == [("spare", "web-3")])
    ScaleTarget.objects.create(kind="web", count=3, by="ann")
    site.until(lambda: ("start", "web-3") in site.asked)
    site.nodes["web-3"] = node("web-3", spare=True)
    site.until(lambda: site.working() == ["web-1", "web-2", "web-3"])
    site.round(5)

    assert site.asked[:2] == [("spare", "web-3"), ("start", "web-3")]


@needs_rows
def test_a_drained_spare_is_stopped_and_another_one_comes(machine):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    services.drain("web-3", by="ann")
    site.until(lambda: ("stop", "web-3") in site.asked)

    assert DrainOrder.objects.get().outcome.startswith("stopped empty")
    site.until(lambda: len(site.waiting()) == 1)


@needs_rows
def test_without_a_bus_no_spare_is_started_or_stopped(machine, monkeypatch):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    site.asked.clear()

    def away():
        raise RedisError("away")

    monkeypatch.setattr(site.balancer._registry, "nodes", away)
    for _ in range(5):
        site.balancer.tick(token=1)
    assert site.asked == []


@needs_rows
def test_a_supervisor_that_refuses_is_asked_again_later_and_one_row_says_so(machine):
    site = machine("web-1", "web-2", refuses=True)
    site.round(20)

    assert site.asked == [("spare", "web-3")]
    assert Decision.objects.filter(action="failed").count() == 1


@needs_rows
def test_while_nodes_are_missing_no_spare_boots(machine):
    site = machine("web-1", boots=False)
    site.until(lambda: site.asked)
    site.round(10)

    assert {what for what, _ in site.asked} == {"start"}


@needs_rows
def test_the_page_counts_a_spare_apart(machine, admin_client):
    site = machine("web-1", "web-2")
    site.until(lambda: site.waiting() == ["web-3"])
    web = admin_client.get("/admin/performance/balancer/").context["snapshot"]["kinds"][0]

    assert (web["nodes"], web["spare"], web["slots"]) == (2, 1, 128)
    assert web["note"].endswith("; one waits as a spare")


def test_a_cluster_keeps_none():
    assert KubernetesExecutor.keeps_spares is False


@pytest.mark.parametrize("count", [-1, 9])
def test_a_number_of_spares_that_cannot_be_is_refused(count):
    with pytest.raises(ImproperlyConfigured, match="from 0 to 8"):
        BalancingConf(spare_web=count)


def test_a_spare_asks_its_database_nothing_before_the_first_request(monkeypatch):
    asked = []
    monkeypatch.setattr(services.Losses, "look", lambda self: asked.append(1) or ())
    monkeypatch.setattr(arrivals, "_came", False)
    look = services._losses(node("web-3", spare=True))

    assert (look(), asked) == ((), [])
    arrivals.record("t=1000000", now_s=1.005)
    assert (look(), asked) == ((), [1])
    services._losses(node("web-1"))()
    assert asked == [1, 1]


def test_before_anything_was_decided_no_spare_may_boot():
    assert Scaler(OPTIONS, None).may_boot_spares("web") is False
