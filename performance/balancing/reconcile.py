"""From the one list of wanted nodes to a proxy that has exactly these: by file and at run time.

The list is written to haproxy.cfg *and* sent over the Runtime API: what is only sent is lost at
the next reload, what is only written does not act before it. Everything can be run twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from performance.balancing import haproxy
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import Fenced, ProxyRefused, ProxyUnreachable
from performance.balancing.haproxy import BACKENDS
from performance.balancing.nodes import WEIGHT, Node
from performance.balancing.runtime import Master, Runtime, Server, View
from performance.balancing.site import Site

logger = logging.getLogger(__name__)

RELOADED_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One command for the running proxy."""

    action: str
    """`add`, `move`, `slots`, `weight`, `enable` or `remove`."""
    backend: str
    name: str
    node: Node | None = None
    dead: bool = False


def membership(
    known: Sequence[Node],
    announced: Sequence[Node] | None,
    view: View | None,
    booting: frozenset[str] = frozenset(),
) -> list[Node]:
    """Return the nodes that should be in the proxy. Pure.

    Announcements add nodes; silence alone removes none. A node leaves when it is silent *and* the
    proxy's own checks call it down, at most a third of a kind at once, and never the last. So an
    empty, wiped or absent registry (None) changes nothing. Who is `booting` may be both for now.
    """
    wanted = {node.id: node for node in (announced or ())}
    taken = {node.address for node in wanted.values()}
    silent = [node for node in known if node.id not in wanted and node.address not in taken]
    if announced is None or view is None:
        return _ordered([*wanted.values(), *silent])
    for kind in BACKENDS:
        mine = [node for node in silent if node.kind == kind]
        alive = sum(node.kind == kind for node in wanted.values())
        servers = view.of(BACKENDS[kind][0])
        dead = [node for node in mine if node.id not in booting and _is_down(servers.get(node.id))]
        most = max(1, (len(mine) + alive) // 3)
        allowed = min(most, len(mine) + alive - 1)
        leaving = {node.id for node in dead[: max(0, allowed)]}
        wanted |= {node.id: node for node in mine if node.id not in leaving}
    return _ordered(wanted.values())


def plan(wanted: Sequence[Node], view: View) -> list[Change]:
    """Return what must change in the running proxy; nothing when it is right already. Pure."""
    changes: list[Change] = []
    for kind, backends in BACKENDS.items():
        mine = {node.id: node for node in wanted if node.kind == kind}
        for backend in backends:
            servers = view.of(backend)
            for name in sorted(servers.keys() - mine.keys()):
                dead = _is_down(view.of(backends[0]).get(name))
                changes.append(Change(action="remove", backend=backend, name=name, dead=dead))
            for name, node in sorted(mine.items()):
                changes += _differences(backend, node, servers.get(name))
    return changes


def _differences(backend: str, node: Node, server: Server | None) -> Iterator[Change]:
    def change(action: str) -> Change:
        return Change(action=action, backend=backend, name=node.id, node=node)

    if server is None:
        yield change("add")
        return
    if server.address != node.address:
        yield change("move")
    if server.slots != node.slots:
        yield change("slots")
    if server.weight != node.share(panic=_is_panic(backend)):
        yield change("weight")
    if server.status == "MAINT":
        yield change("enable")


def apply(changes: Sequence[Change], runtime: Runtime, options: BalancingConf) -> list[str]:
    """Send the changes; return what could not be done yet. ProxyUnreachable when it is away.

    One refusal does not stop the others: it is returned, and planned again at the next tick.
    """
    refused: list[str] = []
    for change in changes:
        try:
            if not _apply_one(change, runtime, options):
                refused.append(f"{change.backend}/{change.name} still has sessions")
        except ProxyRefused as error:
            refused.append(str(error))
    return refused


def _apply_one(change: Change, runtime: Runtime, options: BalancingConf) -> bool:
    backend, name, node = change.backend, change.name, change.node
    if change.action == "remove":
        return runtime.remove(backend, name, kill=change.dead)
    assert node is not None
    panic = _is_panic(backend)
    if change.action == "add":
        words = haproxy.server_words(node, options, panic=panic)
        runtime.add(backend, name, words, checked=not panic)
    elif change.action == "move":
        runtime.move(backend, name, node.host, node.port)
    elif change.action == "slots":
        runtime.set_slots(backend, name, node.slots)
    elif change.action == "weight":
        runtime.set_weight(backend, name, node.share(panic=panic))
    else:
        runtime.change(f"enable server {backend}/{name}")
    return True


def write_and_send(
    site: Site, wanted: Sequence[Node], options: BalancingConf, token: int, binary: str
) -> tuple[View, list[str]]:
    """Bring file and proxy to the wanted nodes; return the view before it and what is left to do.

    Raises Fenced when a newer leader was here, ProxyConfigRefused, ProxyUnreachable. The file
    is right before anything is sent, so a proxy that restarts in between starts right.
    """
    with fence(site.directory, token):
        text = haproxy.render(site, wanted, options, token)
        haproxy.install(site, text, binary)
        runtime = Runtime(site.socket_path)
        view = runtime.view()
        if view.digest != haproxy.digest_of(text):
            Master(site.master_path).reload()
            logger.info(
                "The proxy's settings changed: it was reloaded without losing a connection."
            )
            return _view_after_reload(runtime, haproxy.digest_of(text)), []
        return view, apply(plan(wanted, view), runtime, options)


def _view_after_reload(runtime: Runtime, digest: str) -> View:
    """Return the new process's first view; ProxyUnreachable when it does not answer in time.

    For a moment the socket is nobody's, or still the old process's.
    """
    deadline = time.monotonic() + RELOADED_WITHIN_S
    while True:
        try:
            view = runtime.view()
            if view.digest == digest or time.monotonic() > deadline:
                return view
        except ProxyUnreachable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


@contextmanager
def fence(directory: Path, token: int) -> Iterator[None]:
    """Hold the proxy's folder for one change; raise Fenced when a newer token wrote there.

    A balancer that was paused, lost its lock and wakes finds the newer token and sends nothing.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(directory / "balance.token", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        newest = int(os.pread(handle, 32, 0).decode().strip() or 0)
        if newest > token:
            raise Fenced(token, newest)
        if newest < token:
            os.pwrite(handle, f"{token:020d}\n".encode(), 0)
        yield
    except BlockingIOError:
        raise Fenced(token, token) from None
    finally:
        os.close(handle)


def nodes_of(text: str) -> list[Node]:
    """Return the nodes of a haproxy.cfg that we rendered: what a new leader starts from."""
    found: list[Node] = []
    kind = ""
    for line in text.splitlines():
        if head := re.fullmatch(r"backend (\w+)", line):
            kind = head[1] if head[1] in BACKENDS else ""
        server = re.match(r"  server (\S+) (\S+) maxconn (\d+) weight (\d+)", line)
        if kind and server:
            name, address, slots, weight = server.groups()
            found.append(
                Node(
                    id=name,
                    kind=kind,
                    address=address,
                    slots=int(slots),
                    draining=weight == "0",
                    weight=int(weight) or WEIGHT,
                )
            )
    return found


def _is_panic(backend: str) -> bool:
    return backend.endswith("_panic")


def _is_down(server: Server | None) -> bool:
    return server is not None and server.status == "DOWN"


def _ordered(nodes: Iterable[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: (node.kind, node.id))
