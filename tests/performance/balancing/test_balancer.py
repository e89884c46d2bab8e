"""The balancer at work: a real proxy, real nodes, and a supervisor that starts them."""

from __future__ import annotations

import io
import json
import os
import socketserver
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from redis.backoff import NoBackoff
from redis.retry import Retry

from performance.balancing import balancer as loop
from performance.balancing import leading, services
from performance.balancing.balancer import Balancer
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import LastNode, OutOfBounds, UnknownNode
from performance.balancing.executor import LocalExecutor
from performance.balancing.installing import haproxy_binary
from performance.balancing.models import Decision, DrainOrder, ScaleTarget
from performance.balancing.nodes import Node
from performance.balancing.registry import Registry
from performance.core import stores

from .conftest import load, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.stack]
OPTIONS = BalancingConf(min_web=1, tick_s=0.1, scale_every_s=0.2, boot_grace_s=0.5, spare_web=0)


class Supervisor:
    """Answers as `manage.py up` does, and starts tiny nodes that announce themselves."""

    def __init__(self, cluster):
        self.cluster, self.asked = cluster, []
        self.path = cluster.directory / "up.sock"
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                request = json.loads(self.rfile.readline())
                outer.asked.append((request["op"], request["id"]))
                getattr(outer, request["op"])(request["id"], request["kind"])
                self.wfile.write(b'{"ok": true}\n')

        self.server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def start(self, name, kind):
        self.cluster.start_node(name, kind)

    def stop(self, name, kind):
        self.cluster.kill(name)
        self.cluster.nodes.pop(name)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class World:
    """One balancer with all that it talks to; `round()` is one beat of everybody."""

    def __init__(self, cluster, executor=True):
        self.cluster = cluster
        self.registry = Registry(stores.bus(), OPTIONS)
        self.supervisor = Supervisor(cluster) if executor else None
        self.balancer = Balancer(
            cluster.site, stores.bus(), OPTIONS,
            LocalExecutor(self.supervisor.path) if executor else None, haproxy_binary(),
        )  # fmt: skip

    def announce(self):
        for node in list(self.cluster.nodes.values()):
            if node.id in self.cluster.processes:
                self.registry.announce(node, 1)

    def round(self, announce=True):
        if announce:
            self.announce()
        self.balancer.tick(token=1)
        time.sleep(0.1)
        return self.cluster.runtime.view().of("web")

    def status(self):
        return services.balancer.status()

    def until(self, condition, what, **options):
        return wait_for(lambda: condition(self.round(**options)), what)


@pytest.fixture
def world(cluster):
    made = []

    def make(*names, **options):
        made.append(World(cluster(*names, options=OPTIONS), **options))
        made[-1].round()
        return made[-1]

    yield make
    for one in made:
        if one.supervisor:
            one.supervisor.close()


def test_a_wiped_registry_changes_nothing_and_fails_nobody(world):
    two = world("web-1", "web-2")
    stores.bus().flushall()
    with load(two.cluster, threads=2) as seen:
        for _ in range(8):
            two.round(announce=False)

    assert seen["failed"] == 0
    assert set(two.cluster.runtime.view().of("web")) == {"web-1", "web-2"}
    assert "The registry is empty" in two.balancer._troubles.now()["empty"]


def test_a_node_that_announces_itself_gets_traffic_and_a_row_says_so(world):
    one = world("web-1")
    one.cluster.start_node("web-2")
    one.until(lambda servers: "web-2" in servers and servers["web-2"].status == "UP", "web-2")

    assert Decision.objects.filter(action="join", node_id="web-2").count() == 1


def test_a_dead_node_leaves_the_list(world):
    two = world("web-1", "web-2")
    two.cluster.kill("web-2")
    stores.bus().flushall()
    two.until(lambda servers: "web-2" not in servers, "web-2 to leave")

    assert Decision.objects.get(action="leave").node_id == "web-2"


def test_a_drained_node_is_stopped_once_it_is_empty_and_nothing_fails(world):
    two = world("web-1", "web-2")
    with load(two.cluster, threads=3) as seen:
        assert "takes nothing new" in services.drain("web-2", by="ann")
        assert "already" in services.drain("web-2", by="bob")
        two.until(lambda servers: "web-2" not in servers, "web-2 to be gone")

    assert seen["failed"] == 0
    assert ("stop", "web-2") in two.supervisor.asked
    order = DrainOrder.objects.get()
    assert order.done_at is not None
    assert order.outcome.startswith("stopped empty")
    assert Decision.objects.get(action="stop").by == "ann"


def test_the_last_node_is_not_drained_and_an_unknown_one_is_named(world):
    world("web-1")

    with pytest.raises(LastNode, match=r"manage\.py scale web=2"):
        services.drain("web-1", by="ann")
    with pytest.raises(UnknownNode, match="There are: web-1"):
        services.drain("web-7", by="ann")


def test_a_drain_taken_back_brings_the_node_back(world):
    two = world("web-1", "web-2", executor=False)
    services.drain("web-2", by="ann")
    two.until(lambda servers: servers["web-2"].weight == 0, "the drain")
    services.balancer.undrain("web-2", by="ann")

    two.until(lambda servers: servers["web-2"].weight > 0, "web-2 to be back")


def test_a_target_set_by_hand_starts_and_stops_nodes(world):
    one = world("web-1", "web-2")
    services.scale("web", 3, by="ann")
    one.until(lambda servers: servers.get("web-3") and servers["web-3"].status == "UP", "web-3")
    services.scale("web", 2, by="ann")
    one.until(lambda servers: "web-3" not in servers, "web-3 to be gone")

    starts = [asked for asked in one.supervisor.asked if asked[1].startswith("web")]
    assert starts == [("start", "web-3"), ("stop", "web-3")]
    begun = Decision.objects.get(action="scale_up", kind="web")
    assert (begun.node_id, begun.before, begun.after) == ("web-3", 2, 3)
    assert begun.reason == "set to 3 by ann"


def test_a_target_beyond_the_bounds_is_refused_with_the_bounds():
    with pytest.raises(OutOfBounds, match=r"allowed are 2 to 4.*\['max_web'\]"):
        services.scale("web", 9, by="ann")


def test_without_a_bus_the_balancer_goes_on_and_says_so_once(world, caplog):
    two = world("web-1", "web-2", executor=False)
    two.balancer._registry = Registry(dead_bus(), OPTIONS)
    for _ in range(4):
        two.round()

    assert set(two.cluster.runtime.view().of("web")) == {"web-1", "web-2"}
    assert sum("registry is away" in line for line in caplog.messages) == 1


def dead_bus():
    return stores.redis.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))


def test_sockets_are_asked_to_move_before_their_node_is_stopped(world):
    live = world("web-1", executor=False)
    node = Node(id="live-1", kind="live", address="127.0.0.1:9", slots=10)
    heard = stores.bus().pubsub(ignore_subscribe_messages=True)
    heard.subscribe(loop.DRAIN_CHANNEL)
    heard.get_message(timeout=1)
    live.balancer._ask_sockets_to_move(node)
    message = heard.get_message(timeout=20)
    heard.close()

    assert json.loads(message["data"]) == {"node_id": "live-1", "spread_s": OPTIONS.drain_spread_s}


@pytest.mark.django_db(transaction=True)
def test_the_process_leads_alone_and_ends_when_told(cluster, monkeypatch, settings):
    one = cluster("web-1", options=OPTIONS)
    settings.PERFORMANCE = {"BALANCING": {"min_web": 1, "tick_s": 0.1}}
    monkeypatch.delenv("PROTIPP_SUPERVISOR", raising=False)
    stopped = threading.Event()
    threads = [
        threading.Thread(target=run, args=(one.directory, stopped), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    status = wait_for(services.balancer.status, "a leader")
    stopped.set()
    for thread in threads:
        thread.join(10)

    assert status["proxy"] == "up"
    assert status["nodes"][0]["id"] == "web-1"
    assert not any(thread.is_alive() for thread in threads)


def run(directory, stopped):
    from django.db import connections

    try:
        leading.run_balancer(directory, stopped)
    finally:
        connections.close_all()


def test_the_commands_report_and_refuse(world):
    world("web-1", "web-2", executor=False)
    out = io.StringIO()
    call_command("nodes", json=True, stdout=out)
    call_command("nodes", stdout=out)
    call_command("drain_node", "web-1", stdout=out)
    call_command("scale", "web=3", stdout=out)
    text = out.getvalue()

    assert json.loads(text.splitlines()[0])["id"] == "web-1"
    assert "web-2  web" in text
    assert "3 web nodes are held" in text
    with pytest.raises(CommandError, match="There are: web-1, web-2"):
        call_command("drain_node", "web-9")
    for wrong in ("web", "web=x", "db=2", "web=99"):
        with pytest.raises(CommandError):
            call_command("scale", wrong)


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(world):
    two = world("web-1", "web-2", executor=False)
    rows = (Decision.objects.count(), DrainOrder.objects.count(), ScaleTarget.objects.count())
    file = two.cluster.site.config_path.read_text()
    two.cluster.start_node("web-3")
    two.announce()
    out = io.StringIO()
    call_command("balance", directory=two.cluster.directory, dry_run=2, stdout=out)
    call_command("scale", "web=3", "live=auto", dry_run=True, stdout=out)
    text = out.getvalue()

    assert text.count("web/web-3 would be changed: add") == 2
    assert "web: 3 nodes, none would be started or stopped" in text
    assert "web: 2 nodes, 1 would be started." in text
    assert "live: demand would decide" in text
    assert two.cluster.site.config_path.read_text() == file
    assert set(two.cluster.runtime.view().of("web")) == {"web-1", "web-2"}
    assert rows == (
        Decision.objects.count(), DrainOrder.objects.count(), ScaleTarget.objects.count()
    )  # fmt: skip
    with pytest.raises(CommandError, match="allowed are 2 to 4"):
        call_command("scale", "web=9", dry_run=True)


def test_balance_without_a_proxy_folder_names_the_setting(monkeypatch):
    monkeypatch.delitem(os.environ, "PROTIPP_HAPROXY_DIR", raising=False)

    with pytest.raises(CommandError, match="PROTIPP_HAPROXY_DIR"):
        call_command("balance")


def test_the_page_is_complete_with_and_without_a_balancer(world, admin_client):
    empty = admin_client.get("/admin/performance/balancer/")
    world("web-1", "web-2", executor=False)
    services.scale("web", 3, by="ann")
    full = admin_client.get("/admin/performance/balancer/")

    assert empty.status_code == full.status_code == 200
    assert b"No balancer has spoken" in empty.content
    assert b">web-2</th>" in full.content
    assert b"3 asked for" in full.content


def test_the_page_needs_its_own_permission(client, django_user_model):
    django_user_model.objects.create_user("bob", password="x", is_staff=True)
    client.login(username="bob", password="x")

    assert client.get("/admin/performance/balancer/").status_code == 403


def test_two_ticks_of_one_state_write_no_decision(world):
    two = world("web-1", "web-2", executor=False)
    two.round()
    before = Decision.objects.count()
    for _ in range(3):
        two.round()

    assert Decision.objects.count() == before
