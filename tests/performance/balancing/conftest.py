"""A real proxy before real nodes, on free ports, in a folder short enough for its sockets."""

from __future__ import annotations

import contextlib
import csv
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from performance.balancing import haproxy, installing
from performance.balancing.conf import BalancingConf
from performance.balancing.nodes import Node
from performance.balancing.runtime import Runtime
from performance.balancing.site import Site
from protipp.stack.ports import free_port

HERE = Path(__file__).resolve().parent
PATIENCE_S = 20.0
_idle: dict[str, list[tuple[subprocess.Popen, int]]] = {}
"""Nodes that a test left alive, by name: the next one takes them instead of starting its own."""


def wait_for(condition, what, within_s=PATIENCE_S):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := condition():
                return found
        time.sleep(0.05)
    pytest.fail(f"waited {within_s:.0f} s for {what}")


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]


class Cluster:
    """Nodes and a proxy. `nodes` is what a test believes to be there."""

    def __init__(self, options=None, **site):
        self.directory = Path(tempfile.mkdtemp(prefix="lb-"))
        self.options = options or BalancingConf()
        self.site = Site(port=free_port(), directory=self.directory, **site)
        self.processes = {}
        self.nodes = {}
        self.proxy = None

    def start(self, *names):
        for name in names:
            self.start_node(name)
        self.write()
        self.proxy = subprocess.Popen(
            installing.proxy_command(self.directory), stderr=subprocess.DEVNULL
        )
        for name in names:
            self.await_node(name)
        self.await_up(*names)
        return self

    def write(self, token=0):
        text = haproxy.render(self.site, self.nodes.values(), self.options, token)
        haproxy.install(self.site, text, installing.haproxy_binary())
        installing.save_site(self.site)
        return text

    def start_node(self, name, kind="web", slots=16):
        self.processes[name], port = _idle[name].pop() if _idle.get(name) else start_tiny(name)
        self.nodes[name] = Node(id=name, kind=kind, address=f"127.0.0.1:{port}", slots=slots)
        return self.nodes[name]

    def await_node(self, name):
        port = self.nodes[name].port
        wait_for(lambda: ask(port, "/healthz").status == 200, f"{name} to answer")

    def await_up(self, *names):
        def up():
            servers = self.runtime.view().of("web")
            return all(name in servers and servers[name].status == "UP" for name in names)

        wait_for(lambda: self.runtime.path.exists() and up(), f"{names} to be up")

    def await_full_weight(self, *names):
        """Wait for the slow start to end: until then a node's share still grows."""

        def grown():
            rows = csv.DictReader(io.StringIO(self.runtime.ask("show stat").removeprefix("# ")))
            shares = {row["svname"]: row for row in rows if row["pxname"] == "web"}
            return all(shares[name]["weight"] == shares[name]["uweight"] for name in names)

        wait_for(grown, f"{names} to have their whole share")

    def kill(self, name, how=signal.SIGKILL):
        """End the whole session of a node: granian has a parent and a worker."""
        end_session(self.processes.pop(name), how)

    @property
    def runtime(self):
        return Runtime(self.site.socket_path)

    def ask(self, path="/", **options):
        return ask(self.site.port, path, **options)

    def stop(self):
        for name, process in self.processes.items():
            if is_well(self.nodes[name]):
                _idle.setdefault(name, []).append((process, self.nodes[name].port))
            else:
                end_session(process)
        if self.proxy is not None:
            self.proxy.terminate()
            try:
                self.proxy.wait(5)
            except subprocess.TimeoutExpired:
                self.proxy.kill()
                self.proxy.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def start_tiny(name):
    port = free_port()
    return subprocess.Popen(
        [
            str(Path(sys.executable).parent / "granian"), "tiny:application",
            "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--blocking-threads", "8", "--no-ws", "--log-level", "error",
        ],
        env={**os.environ, "PROTIPP_NODE_ID": name, "PYTHONPATH": str(HERE)},
        start_new_session=True,
    ), port  # fmt: skip


def is_well(node):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(node.port, "/healthz", timeout_s=1).status == 200
    return False


def end_session(process, how=signal.SIGKILL):
    """End granian's parent and its worker."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.wait(10)


@pytest.fixture(scope="session", autouse=True)
def _end_idle_nodes():
    yield
    for process, _ in [one for nodes in _idle.values() for one in nodes]:
        end_session(process)


def ask(port, path="/", method="GET", headers=None, body=None, timeout_s=10):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, answer.read(), found)
    finally:
        connection.close()


def raw(port, text):
    """Send bytes as they are and return the status line and what follows."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        parts = []
        with contextlib.suppress(OSError):
            while part := connection.recv(65_536):
                parts.append(part)
    return b"".join(parts).decode(errors="replace")


@contextlib.contextmanager
def held(cluster, count=1, headers=None):
    """Keep so many requests in the house, at work or in the queue, until the block ends.

    Yields what they were answered, which is empty until then.
    """
    gate, answers = uuid.uuid4().hex, []

    def ask_and_wait():
        answers.append(cluster.ask(f"/held?{gate}", headers=headers, timeout_s=60))

    def in_the_house():
        servers = cluster.runtime.view().of("web").values()
        return sum(server.sessions for server in servers) + queued(cluster)

    waiting = [threading.Thread(target=ask_and_wait) for _ in range(count)]
    for one in waiting:
        one.start()
    try:
        wait_for(lambda: in_the_house() >= count, f"{count} requests in the house")
        yield answers
    finally:
        for node in cluster.nodes.values():
            ask(node.port, f"/release?{gate}")
        for one in waiting:
            one.join()


def queued(cluster):
    """How many wait, for any node or for one of them."""
    view = cluster.runtime.view()
    return view.backends["web"].queued + sum(one.queued for one in view.of("web").values())


@contextlib.contextmanager
def load(cluster, threads=6, path="/", method="GET", headers=None):
    """Ask all the time; yields a Counter of statuses, `failed` and the nodes that answered."""
    seen, stopped = Counter(), threading.Event()

    def client():
        while not stopped.is_set():
            try:
                answer = cluster.ask(path, method=method, headers=headers)
            except (OSError, http.client.HTTPException) as error:
                seen["failed"] += 1
                seen[type(error).__name__] += 1
            else:
                seen[answer.status] += 1
                seen["failed"] += answer.status >= 400
                seen[answer.headers.get("x-node", "?")] += 1
            time.sleep(0.002)

    def more(count=100):
        """Wait until so many more were answered."""
        wanted = seen[200] + count
        wait_for(lambda: seen[200] >= wanted, f"{count} more answers")

    seen.more = more
    clients = [threading.Thread(target=client) for _ in range(threads)]
    for one in clients:
        one.start()
    try:
        yield seen
    finally:
        stopped.set()
        for one in clients:
            one.join()


@pytest.fixture
def cluster():
    made = []

    def make(*names, options=None, **site):
        made.append(Cluster(options, **site))
        return made[-1].start(*names)

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def site():
    """Two nodes behind a proxy, for tests that change nothing of it."""
    one = Cluster(hosts=("127.0.0.1", "localhost", ".example.com"), stats_port=free_port())
    try:
        yield one.start("web-1", "web-2")
    finally:
        one.stop()


@pytest.fixture
def tight():
    """Options under which a test's own address meets the limits."""
    return replace(BalancingConf(), unlimited_networks=(), requests_per_10s=20, metrics_networks=())
