"""A node that lost its database leaves the rotation only while others are better off."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from performance.balancing import health
from performance.balancing.aside import LOOKS, Aside
from performance.balancing.balancer import Balancer
from performance.balancing.health import Losses
from performance.balancing.installing import haproxy_binary
from performance.balancing.models import Decision
from performance.balancing.nodes import Node
from performance.core import stores
from protipp.stack import nodes as stack_nodes
from protipp.stack import processes

from .conftest import Cluster, ask, load, wait_for
from .test_balancer import OPTIONS, world
from .test_nodes import three, view

__all__ = ["world"]
CUT_OFF = ("database",)
UP = view(web_1="UP", web_2="UP", web_3="UP")


def set_aside(nodes, seen=UP, rounds=LOOKS, aside=None):
    """Return the ids of those set aside after so many rounds."""
    aside = aside or Aside()
    for _ in range(rounds):
        found = aside.of(nodes, seen)
    return [node.id for node in found if node.aside]


def cut_off(nodes, *ids):
    return [replace(node, lost=CUT_OFF if node.id in ids else ()) for node in nodes]


# --- who is set aside: pure ----------------------------------------------------------------------
def test_one_that_is_cut_off_is_set_aside_once_it_says_so_twice():
    nodes = cut_off(three(), "web-2")

    assert set_aside(nodes, rounds=1) == []
    assert set_aside(nodes) == ["web-2"]


def test_it_comes_back_with_its_database():
    aside = Aside()
    set_aside(cut_off(three(), "web-2"), aside=aside)

    assert set_aside(three(), rounds=1, aside=aside) == []


def test_nobody_is_set_aside_when_all_are_cut_off():
    assert set_aside(cut_off(three(), "web-1", "web-2", "web-3")) == []


def test_who_was_set_aside_comes_back_when_the_others_are_cut_off_too():
    aside = Aside()
    assert set_aside(cut_off(three(), "web-2"), aside=aside) == ["web-2"]

    assert set_aside(cut_off(three(), "web-1", "web-2", "web-3"), aside=aside) == []


@pytest.mark.parametrize("state", ["DOWN", "DRAIN", "MAINT"])
def test_others_that_take_nothing_are_not_better_off(state):
    pair = cut_off(three()[:2], "web-1")

    assert set_aside(pair, view(web_1="UP", web_2=state)) == []
    assert set_aside(pair, view(web_1="UP")) == []  # the proxy does not know the other one yet


def test_at_most_half_of_the_slots_are_set_aside():
    assert len(set_aside(cut_off(three(), "web-1", "web-2"))) == 1
    large = [replace(node, slots=200 if node.id == "web-1" else 64) for node in three()]

    assert set_aside(cut_off(large, "web-1")) == []
    assert set_aside(cut_off(large, "web-2", "web-3")) == ["web-2", "web-3"]


def test_a_kind_is_no_help_to_another():
    live = Node(id="live-1", kind="live", address="127.0.0.1:9100", slots=64, lost=CUT_OFF)

    assert set_aside([*three(), live]) == []


def test_one_that_is_drained_anyway_is_not_set_aside():
    nodes = [node.drained() if node.id == "web-2" else node for node in three()]

    assert set_aside(cut_off(nodes, "web-2")) == []


def test_a_new_leader_goes_on_with_those_the_last_one_set_aside():
    assert set_aside(cut_off(three(), "web-2"), rounds=1, aside=Aside(["web-2"])) == ["web-2"]


def test_when_every_check_fails_who_is_set_aside_is_tried_too():
    node = replace(three()[0], aside=True)

    assert node.share(panic=False) == 0
    assert node.share(panic=True) == node.weight
    assert node.drained().share(panic=True) == 0


# --- what a node says of itself ------------------------------------------------------------------
@pytest.fixture
def asked_at_once(monkeypatch):
    monkeypatch.setattr(health, "KEPT_S", 0.0)


def test_a_database_is_lost_after_two_failures_in_a_row_and_back_after_three_answers(asked_at_once):
    away, asked = threading.Event(), []

    def question():
        asked.append(away.is_set())
        if away.is_set():
            raise ConnectionRefusedError("no")

    losses = Losses(question)

    def looked(until):
        asked.clear()
        wait_for(lambda: losses.look() == until, until)
        return list(asked)

    wait_for(lambda: losses.look() == () and len(asked) > 3, "answers")
    away.set()
    failures = looked(CUT_OFF)
    away.clear()
    answers = looked(())

    assert failures.count(True) >= health.LOST_AFTER
    assert answers.count(False) >= health.BACK_AFTER


def test_a_database_that_hangs_is_lost_and_no_look_waits_for_it(asked_at_once, monkeypatch):
    release, asked = threading.Event(), []

    def hang():
        asked.append(1)
        release.wait(20)

    monkeypatch.setattr(health, "LIMIT_S", 0.1)
    losses = Losses(hang)

    assert losses.look() == ()
    wait_for(lambda: losses.look() == CUT_OFF, "the loss")
    release.set()
    assert len(asked) == 1


# --- in the proxy --------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.stack
def test_the_cut_off_node_gets_nothing_new_until_all_are_alike(world):
    two = world("web-1", "web-2", executor=False)

    def lose(*ids):
        for node in cut_off(list(two.cluster.nodes.values()), *ids):
            two.cluster.nodes[node.id] = node

    def weights(servers):
        return {name: server.weight for name, server in servers.items()}

    with load(two.cluster, threads=2) as seen:
        lose("web-2")
        two.until(lambda servers: weights(servers) == {"web-1": 100, "web-2": 0}, "web-2 aside")
        before = seen["web-2"]
        seen.more(40)
        two.round()  # what is told is what the proxy said when the round began
        told = {node["id"]: node["state"] for node in two.status()["nodes"]}
        after = seen["web-2"]
        panic = two.cluster.runtime.view().of("web_panic")
        lose("web-1", "web-2")
        two.until(lambda servers: weights(servers) == {"web-1": 100, "web-2": 100}, "both")

    assert seen["failed"] == 0
    assert after - before <= 2  # those that were on their way
    assert told == {"web-1": "up", "web-2": "set aside"}
    assert weights(panic) == {"web-1": 100, "web-2": 100}
    reasons = Decision.objects.filter(action__in=("aside", "back"), node_id="web-2").order_by("id")
    assert [decision.action for decision in reasons] == ["aside", "back"]
    assert "does not reach its database, others do" in reasons[0].reason


@pytest.mark.django_db
@pytest.mark.stack
def test_without_postgresql_the_last_leader_lets_back_who_is_no_worse_off(world):
    two = world("web-1", "web-2", executor=False)
    two.cluster.nodes["web-2"] = replace(two.cluster.nodes["web-2"], lost=CUT_OFF)
    two.until(lambda servers: servers["web-2"].weight == 0, "web-2 aside")

    two.balancer.without_database()
    assert two.cluster.runtime.view().of("web")["web-2"].weight == 0  # web-1 still has its own
    two.cluster.nodes["web-1"] = replace(two.cluster.nodes["web-1"], lost=CUT_OFF)
    two.announce()
    two.balancer.without_database()
    assert two.cluster.runtime.view().of("web")["web-2"].weight == 100


# --- the whole of it, with real nodes ------------------------------------------------------------
class Wire:
    """A line to PostgreSQL of one node's own, which can be cut."""

    def __init__(self, socket_path):
        self._path = socket_path
        self._ends, self._threads = [], []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._path)
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._carry, args=pair))
                    self._threads[-1].start()

    @staticmethod
    def _carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """End all that is open and refuse what comes."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()


class RealNodes(Cluster):
    """Web nodes as `up` starts them, each with a wire of its own to the tests' PostgreSQL."""

    def __init__(self, database, **options):
        super().__init__(**options)
        self._database = database
        self.wires, self._specs = {}, {}
        self.logs = Path(tempfile.mkdtemp(prefix="protipp-aside-"))

    def start_node(self, name, kind="web", slots=16):
        path = f"{self._database['HOST']}/.s.PGSQL.{self._database['PORT'] or 5432}"
        wire = self.wires[name] = Wire(path)
        url = (
            f"postgresql://{self._database['USER']}@127.0.0.1:{wire.port}/{self._database['NAME']}"
        )
        quick = '{"BALANCING": {"heartbeat_s": 0.5}}'
        environment = {**os.environ, "DATABASE_URL": url, "PERFORMANCE": quick}
        spec = self._specs[name] = stack_nodes.spec(kind, name, environment)
        with (self.logs / name).open("wb") as log:
            self.processes[name] = processes.run(spec, log)
        self.nodes[name] = Node(id=name, kind=kind, address=stack_nodes.address(spec), slots=slots)
        return self.nodes[name]

    def stop(self):
        for name, process in self.processes.items():
            processes.end(process, self._specs[name].stop_signal, within_s=5)
            self.wires[name].cut()
        self.processes.clear()
        super().stop()
        shutil.rmtree(self.logs, ignore_errors=True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.stack
def test_real_nodes_fail_nobody_when_one_is_cut_off_and_serve_what_is_cached_when_all_are():
    from django.db import connection

    two = RealNodes(connection.settings_dict, options=OPTIONS)
    try:
        two.start("web-1", "web-2")
        balancer = Balancer(two.site, stores.bus(), OPTIONS, None, haproxy_binary())

        def weights():
            balancer.tick(token=1)
            found = two.runtime.view().of("web")
            return {name: server.weight for name, server in found.items()}

        cached = "/api/v1/sports"
        assert {ask(node.port, cached).status for node in two.nodes.values()} == {200}
        assert weights() == {"web-1": 100, "web-2": 100}

        two.wires["web-2"].cut()
        wait_for(lambda: weights() == {"web-1": 100, "web-2": 0}, "web-2 aside", 30)
        never = "/api/v1/odds?sport=none&commenceTimeFrom=20{}-01-01T00:00:00Z"
        assert {two.ask(never.format(year)).status for year in range(30, 60)} == {404}

        two.wires["web-1"].cut()
        wait_for(lambda: weights() == {"web-1": 100, "web-2": 100}, "both again", 30)
        assert {ask(node.port, cached).status for node in two.nodes.values()} == {200}
        assert {two.ask(cached).status for _ in range(10)} == {200}
    finally:
        two.stop()
