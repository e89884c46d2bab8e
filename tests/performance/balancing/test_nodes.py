"""What nodes announce, and which of it is believed."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from performance.balancing import haproxy, reconcile
from performance.balancing import registry as registry_module
from performance.balancing.announce import Heartbeat
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import BalancingError, NodeRefused
from performance.balancing.nodes import Node, check_node
from performance.balancing.registry import INDEX, PREFIX, Registry
from performance.balancing.runtime import Backend, Server, View
from performance.balancing.site import Site
from performance.core import stores

from .conftest import end_session, wait_for

pytestmark = pytest.mark.timed

OPTIONS = BalancingConf()
NODE = Node(id="web-1", kind="web", address="127.0.0.1:9001", slots=64)
LIES = {
    "newline in the id": {"id": "web-1\n  server evil"},
    "space in the id": {"id": "web 1"},
    "huge slots": {"slots": 1_000_000},
    "no slots": {"slots": 0},
    "slots as text": {"slots": "64"},
    "another kind": {"kind": "db"},
    "a public address": {"address": "8.8.8.8:80"},
    "a name for an address": {"address": "localhost:80"},
    "no port": {"address": "127.0.0.1"},
    "a newline after the port": {"address": "127.0.0.1:80\n"},
    "a scope": {"address": "[fe80::1%x y]:80"},
    "the metadata service": {"address": "169.254.169.254:80"},
    "load that is no number": {"cpu_ratio": float("nan")},
    "a build with a line": {"build": "1\n2"},
}


@pytest.fixture
def registry():
    return Registry(stores.bus(), OPTIONS)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_refused_by_name_and_never_rendered(lie, tmp_path):
    node = replace(NODE, **lie)

    with pytest.raises(NodeRefused, match=f"announces {next(iter(lie))}.*must be"):
        check_node(node, OPTIONS.node_networks)
    with pytest.raises(NodeRefused):
        haproxy.render(Site(port=8000, directory=tmp_path), [node], OPTIONS)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "10.1.2.3:65535", "[::1]:80", "[fd00::1]:80"])
def test_loopback_and_private_addresses_are_believed(address):
    assert check_node(replace(NODE, address=address), OPTIONS.node_networks)


def test_an_announcement_is_read_back_and_gone_after_its_time():
    short = replace(OPTIONS, gone_after_s=1.0, heartbeat_s=0.1)
    registry = Registry(stores.bus(), short)
    registry.announce(NODE, 1)

    assert registry.nodes() == [NODE]
    wait_for(lambda: registry.nodes() == [], "its time to be over")
    assert stores.bus().scard(INDEX) == 0


def test_a_withdrawn_node_is_gone_at_once(registry):
    registry.announce(NODE, 1)
    registry.withdraw("web-1", 1)

    assert registry.nodes() == []


def test_the_processes_of_one_node_are_one_node_with_their_loads_added(registry):
    registry.announce(replace(NODE, memory_bytes=10, cpu_ratio=0.2), 1)
    registry.announce(replace(NODE, memory_bytes=30, cpu_ratio=0.3), 2)

    (node,) = registry.nodes()
    assert (node.memory_bytes, node.cpu_ratio, node.slots) == (40, 0.5, 64)


def test_an_address_belongs_to_the_node_that_began_last(registry):
    registry.announce(replace(NODE, id="web-1", started_at=1), 1)
    registry.announce(replace(NODE, id="web-2", started_at=2), 2)

    assert [node.id for node in registry.nodes()] == ["web-2"]


@pytest.mark.parametrize(
    "text",
    [
        b"\xff", b"[]", b"{}", b'{"id": "web-9"}', b"[" * 2_000, b"x" * 5_000,
        json.dumps(asdict(replace(NODE, id="other"))).encode(),
        json.dumps(asdict(NODE) | {"id": "web-9", "slots": 10**6}).encode(),
        json.dumps(asdict(NODE) | {"id": "web-9", "cpu_ratio": float("nan")}).encode(),
    ],
)  # fmt: skip
def test_garbage_in_the_registry_is_refused_once_in_the_log_and_hides_nobody(
    registry, caplog, text
):
    registry.announce(NODE, 1)
    stores.bus().set(PREFIX + "web-9:7", text)
    stores.bus().sadd(INDEX, "web-9:7")

    with caplog.at_level(logging.WARNING):
        assert registry.nodes() == [NODE]
        registry.nodes()

    said = [record for record in caplog.records if record.name == registry_module.__name__]
    assert len(said) <= 1  # none when the test before refused the very same


def test_a_heartbeat_announces_until_it_is_stopped(registry):
    heartbeat = Heartbeat(NODE, lambda: registry, every_s=0.05)
    heartbeat.start()
    heartbeat.start()
    node = wait_for(lambda: (registry.nodes() or [None])[0], "the node")

    assert node.memory_bytes > 1_000_000
    heartbeat.stop()
    assert registry.nodes() == []


FORKING = """
    import os, time, redis
    from performance.balancing.announce import Heartbeat
    from performance.balancing.conf import BalancingConf
    from performance.balancing.nodes import Node
    from performance.balancing.registry import Registry
    node = Node(id="web-1", kind="web", address="127.0.0.1:9001", slots=64)
    bus = redis.Redis.from_url(os.environ["REDIS_URL"])
    Heartbeat(node, lambda: Registry(bus, BalancingConf()), 0.05).start()
    child = os.fork()
    time.sleep(60)
    os._exit(0)
"""


def test_a_forked_worker_beats_for_itself():
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FORKING)], env=os.environ, start_new_session=True
    )
    try:
        wait_for(lambda: stores.bus().scard(INDEX) == 2, "two processes")
    finally:
        end_session(process)  # the child too, or it announces itself into the next test


def server(name, status="UP", backend="web"):
    return Server(
        backend=backend, name=name, status=status, address="127.0.0.1:9001", weight=100, slots=64,
        sessions=0, queued=0, answers=0, errors=0, latency_ms=None, check="L7OK",
    )  # fmt: skip


def view(**statuses):
    servers = tuple(server(name.replace("_", "-"), status) for name, status in statuses.items())
    backend = Backend(name="web", queued=0, sessions=0, rate_per_s=0)
    return View(digest="", servers=servers, backends={"web": backend})


def three():
    return [replace(NODE, id=f"web-{n}", address=f"127.0.0.1:900{n}") for n in (1, 2, 3)]


def test_an_empty_registry_removes_nobody_who_answers():
    up = view(web_1="UP", web_2="UP", web_3="UP")

    assert reconcile.membership(three(), [], up) == three()
    assert reconcile.membership(three(), None, up) == three()
    assert reconcile.membership(three(), None, None) == three()


def test_who_is_silent_and_down_leaves_but_never_more_than_a_third_nor_the_last():
    down = view(web_1="DOWN", web_2="DOWN", web_3="DOWN")

    assert len(reconcile.membership(three(), [], down)) == 2
    assert len(reconcile.membership(three()[:1], [], down)) == 1
    assert [
        node.id
        for node in reconcile.membership(three(), three()[1:], view(web_1="DOWN", web_2="UP"))
    ] == ["web-2", "web-3"]


def test_who_is_booting_may_be_silent_and_down_for_now():
    down = view(web_1="DOWN", web_2="UP", web_3="UP")

    assert reconcile.membership(three(), three()[1:], down, frozenset(["web-1"])) == three()


def test_a_new_node_on_the_address_of_a_silent_one_takes_its_place():
    heir = replace(NODE, id="web-9", address="127.0.0.1:9001")

    members = reconcile.membership(three(), [heir], None)

    assert [node.id for node in members] == ["web-2", "web-3", "web-9"]


def test_the_nodes_of_a_rendered_file_are_read_back(tmp_path):
    nodes = [*three(), replace(NODE, id="live-1", kind="live", address="127.0.0.1:9100")]
    nodes[0] = nodes[0].drained()
    text = haproxy.render(Site(port=8000, directory=tmp_path), nodes, OPTIONS)

    assert sorted(reconcile.nodes_of(text), key=lambda n: n.id) == sorted(nodes, key=lambda n: n.id)


def test_the_same_nodes_give_the_same_file_whatever_their_order(tmp_path):
    site = Site(port=8000, directory=tmp_path)

    assert haproxy.render(site, three(), OPTIONS) == haproxy.render(site, three()[::-1], OPTIONS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"port": 0}, "port is 0; it must be 1 to 65535"),
        ({"bind": "everywhere"}, "bind address is 'everywhere'"),
        ({"hosts": ("a b",)}, "cannot stand in haproxy.cfg"),
        ({"session_cookie": "a\nb"}, "cannot stand in haproxy.cfg"),
    ],
)
def test_a_site_that_haproxy_could_not_take_is_refused_by_name(tmp_path, change, says):
    with pytest.raises(BalancingError, match=says):
        haproxy.render(Site(**{"port": 8000, "directory": tmp_path, **change}), [], OPTIONS)


def test_a_folder_too_deep_for_a_socket_is_refused_with_the_remedy(tmp_path):
    deep = tmp_path / ("x" * 100)

    with pytest.raises(BalancingError, match="Set PROTIPP_HAPROXY_DIR to a shorter folder"):
        haproxy.render(Site(port=8000, directory=deep), [], OPTIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_web": 0}, {"min_web": 9}, {"policy": "fastest"}, {"target_utilisation": 0},
        {"queue_timeout_s": 0}, {"gone_after_s": 1.0}, {"node_networks": ("everywhere",)},
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused_by_name(wrong):
    with pytest.raises(ImproperlyConfigured, match=next(iter(wrong))):
        BalancingConf(**wrong)


def test_the_example_that_is_handed_out_is_what_is_rendered():
    root = Path(__file__).resolve().parents[3]
    site = Site(port=8000, directory=Path("/run/protipp"), stats_port=8404, hosts=("example.com",))
    nodes = [
        NODE,
        replace(NODE, id="web-2", address="127.0.0.1:9002"),
        replace(NODE, id="live-1", kind="live", address="127.0.0.1:9101", slots=5_000),
    ]
    example = root / "deploy" / "haproxy" / "haproxy.cfg"
    text = re.sub(r"nbthread \d+", "nbthread 2", haproxy.render(site, nodes, OPTIONS))
    text = re.sub(r"description protipp-\w+", "description protipp-example", text)
    if os.environ.get("PROTIPP_WRITE_EXAMPLES"):
        example.write_text(text)

    assert example.read_text() == text
