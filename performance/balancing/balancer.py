"""The loop of `manage.py balance`: what should be against what is, about once a second."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import redis
from django.utils import timezone

from performance.balancing import decisions, haproxy, reconcile
from performance.balancing.aside import Aside
from performance.balancing.autoscaling import Scaler
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import BalancingError, Fenced, SupervisorFailed
from performance.balancing.executor import Executor
from performance.balancing.haproxy import BACKENDS
from performance.balancing.models import DrainOrder
from performance.balancing.nodes import Node
from performance.balancing.registry import Registry
from performance.balancing.runtime import Runtime, View
from performance.balancing.site import Site
from performance.balancing.spares import Spares, split
from performance.balancing.status import scaling_of, sessions_of, spare_row, status_of
from performance.balancing.steering import steered, weighed, weights
from performance.core import broadcast

logger = logging.getLogger(__name__)

BALANCER = "balancer"
STATUS_KEY = "balancing:status"
STATUS_KEPT_S = 15
DRAIN_CHANNEL = "live:drain"
"""Live nodes listen here: `{"node_id", "spread_s"}` asks them to close their sockets with 1012."""
_PRUNE_EVERY_S = 3_600.0


class Balancer:
    """One leader's work. Made anew for each term, so that it starts from the file and the rows."""

    def __init__(
        self, site: Site, bus: redis.Redis, options: BalancingConf, executor: Executor | None,
        binary: str,
    ) -> None:  # fmt: skip
        self._site = site
        self._bus = bus
        self._options = self._given = options
        self._executor = executor
        self._binary = binary
        self._registry = Registry(bus, options)
        self._scaler = Scaler(options, executor)
        self._spares = _spares_of(options, executor)
        self._waiting: list[Node] | None = None
        """The spares that announced themselves in this round; None when nobody could be heard."""
        self._troubles = decisions.Troubles()
        self._wanted = reconcile.nodes_of(haproxy.read_config(site))
        self._aside = Aside(already=[node.id for node in self._wanted if node.draining])
        self._token = 0
        self._heard: set[str] = set()
        self._stopped: dict[str, float] = {}
        self._draining_since: dict[str, float] = {}
        self._began = time.monotonic()
        self._scaled_at = self._pruned_at = -math.inf

    def tick(self, token: int) -> None:
        """Do one round under this fencing token. Raises Fenced, or django.db.DatabaseError."""
        now = time.monotonic()
        self._token = token
        view = self._look()
        self._options = steered(self._given)
        orders = list(DrainOrder.objects.filter(done_at=None).order_by("id"))
        wanted = self._members(view, {order.node_id for order in orders})
        view = self._send(wanted, token) or view
        self._note_changes(wanted, token)
        self._wanted = wanted
        self._drain(orders, view, token)
        self._tell_executor(view)
        if now - self._scaled_at >= self._options.scale_every_s:
            self._scaled_at = now
            self._scale(view, token)
        if now - self._pruned_at >= _PRUNE_EVERY_S:
            self._pruned_at = now
            decisions.forget_old(self._options.decisions_kept_days)
        self._tell(view, token)

    def _scale(self, view: View | None, token: int) -> None:
        """Let the scaler decide; a spare that it lets in is sent at once, not in the next round."""
        ready = [node for node in self._waiting or () if not node.draining]
        let_in = self._scaler.tick(self._wanted, view, token, ready, self._stopped)
        if let_in:
            wanted = weighed([*self._wanted, *let_in], weights(), self._options.policy)
            self._send(wanted, token)
            self._note_changes(wanted, token)
            self._wanted = wanted
        if self._waiting is None:
            return
        self._waiting = [node for node in self._waiting if node not in let_in]
        for kind, spares in self._spares.items():
            gone = spares.keep(
                [node for node in self._waiting if node.kind == kind],
                [node for node in self._wanted if node.kind == kind],
                {*self._stopped, *self._scaler.kinds[kind].starting},
                may_start=self._scaler.may_boot_spares(kind), token=token,
            )  # fmt: skip
            self._leaves(gone)

    def _leaves(self, names: Iterable[str]) -> None:
        """Believe no announcement of these for as long as they may take to end."""
        assert self._executor is not None
        until = time.monotonic() + self._executor.leaves_within_s
        self._stopped |= dict.fromkeys(names, until)

    def _look(self) -> View | None:
        try:
            view = Runtime(self._site.socket_path).view()
        except BalancingError as error:
            self._troubles.began("proxy", error)
            return None
        self._troubles.ended("proxy", "HAProxy answers again.")
        return view

    def _members(self, view: View | None, draining: set[str]) -> list[Node]:
        announced = self._hear(draining)
        booting: frozenset[str] = frozenset()
        if time.monotonic() - self._began < self._options.boot_grace_s:
            booting = frozenset(node.id for node in self._wanted) - self._heard
        known = [node for node in self._wanted if node.id not in self._stopped]
        members = reconcile.membership(known, announced, view, booting)
        drained = [replace(node, draining=node.id in draining) for node in members]
        members_now = self._aside.of(drained, view)
        self._tell_of_losses(members_now)
        return weighed(members_now, weights(), self._options.policy)

    def without_database(self) -> None:
        """Do what can be done while PostgreSQL is away from here: let back who is no worse off.

        Nobody is set aside now, and nothing else changes. Raises Fenced when another one leads.
        """
        if not any(node.aside for node in self._wanted):
            return
        said = {node.id: node.lost for node in self._announced() or ()}
        now = [replace(node, lost=said.get(node.id, node.lost)) for node in self._wanted]
        still = {node.id for node in self._aside.of(now, self._look()) if node.aside}
        back = [replace(node, aside=node.aside and node.id in still) for node in self._wanted]
        if back != self._wanted and self._send(back, self._token) is not None:
            self._wanted = back

    def _tell_of_losses(self, nodes: Sequence[Node]) -> None:
        lost = {f"lost {node.id}": node for node in nodes if node.lost}
        for name in self._troubles.now().keys() - lost.keys():
            if name.startswith("lost "):
                self._troubles.ended(name, f"{name[5:]} reaches all it needs again, or is gone.")
        for name, node in lost.items():
            so = "it gets nothing new" if node.aside else "it goes on with what is cached"
            what = " and ".join(node.lost)
            self._troubles.began(name, f"{node.id} does not reach its {what}: {so}.")

    def _hear(self, draining: set[str]) -> list[Node] | None:
        """Return who announced themselves to work, and remember who wait; None as `_announced`."""
        announced = self._announced()
        self._waiting = None
        if not announced:
            return announced
        nodes, waiting = split(announced, {node.id for node in self._wanted})
        self._waiting = [replace(node, draining=node.id in draining) for node in waiting]
        return nodes

    def _announced(self) -> list[Node] | None:
        """Return who is in the registry, less the ones just stopped; None when it is away."""
        now = time.monotonic()
        self._stopped = {name: until for name, until in self._stopped.items() if until > now}
        try:
            nodes = self._registry.nodes()
        except redis.RedisError as error:
            self._troubles.began(
                "bus", f"The registry is away; the nodes stay as they are: {error}"
            )
            return None
        self._troubles.ended("bus", "The registry is back.")
        if self._heard and not nodes:
            self._troubles.began("empty", "The registry is empty; the nodes stay as they are.")
        else:
            self._troubles.ended("empty", f"The registry has {len(nodes)} nodes again.")
        self._heard |= {node.id for node in nodes}
        return [node for node in nodes if node.id not in self._stopped]

    def _send(self, wanted: Sequence[Node], token: int) -> View | None:
        try:
            view, left = reconcile.write_and_send(
                self._site, wanted, self._options, token, self._binary
            )
        except Fenced:
            raise
        except BalancingError as error:
            self._troubles.began("send", error)
            return None
        self._troubles.ended("send", "The proxy takes changes again.")
        if left:
            self._troubles.began("left", f"Left for the next round: {'; '.join(left)[:500]}")
        else:
            self._troubles.ended("left", "The proxy has all that was left.")
        return view

    def _note_changes(self, wanted: Sequence[Node], token: int) -> None:
        decisions.note_changes(self._wanted, wanted, self._stopped, by=BALANCER, token=token)

    def _drain(self, orders: Sequence[DrainOrder], view: View | None, token: int) -> None:
        """Take each open order one step on: ask sockets to move, wait, stop, close the order."""
        present = {node.id: node for node in (*self._wanted, *(self._waiting or ()))}
        for gone in self._draining_since.keys() - {order.node_id for order in orders}:
            del self._draining_since[gone]
        for order in orders:
            node = present.get(order.node_id)
            if node is None:
                self._close(order, "it is gone")
                continue
            if order.node_id not in self._draining_since:
                self._draining_since[order.node_id] = time.monotonic()
                self._ask_sockets_to_move(node)
            waited_s = time.monotonic() - self._draining_since[order.node_id]
            sessions = sessions_of(view, node) if node in self._wanted else 0  # nobody sent to it
            empty = sessions == 0 and waited_s >= self._options.tick_s  # one look after the drain
            late = waited_s >= self._options.drain_timeout_s
            if (empty or late) and order.stop and self._executor is not None:
                rest = "empty" if empty else f"after {waited_s:.0f} s, {sessions} sessions left"
                self._stop(order, node, rest, token)

    def _ask_sockets_to_move(self, node: Node) -> None:
        if node.kind != "live":
            return
        message = json.dumps({"node_id": node.id, "spread_s": self._options.drain_spread_s})
        with contextlib.suppress(redis.RedisError):  # then the drain's own limit ends them
            self._bus.publish(DRAIN_CHANNEL, message)
        group = f"performance.node.{node.id}"
        broadcast.send(
            group, {"type": "page.move", "within_s": self._options.drain_spread_s}
        )  # the staff pages'

    def _stop(self, order: DrainOrder, node: Node, rest: str, token: int) -> None:
        assert self._executor is not None
        try:
            self._executor.stop(node.kind, node.id)
        except SupervisorFailed as error:
            self._troubles.began(f"stop {node.id}", error)
            return
        self._troubles.ended(f"stop {node.id}", f"{node.id} was stopped after all.")
        self._leaves([node.id])
        self._close(order, f"stopped {rest}")
        decisions.record(
            "stop", kind=node.kind, node_id=node.id, by=order.by, token=token,
            reason=f"drained, {rest}",
        )  # fmt: skip

    @staticmethod
    def _close(order: DrainOrder, outcome: str) -> None:
        DrainOrder.objects.filter(pk=order.pk, done_at=None).update(
            done_at=timezone.now(), outcome=outcome[:200]
        )

    def _tell_executor(self, view: View | None) -> None:
        if self._executor is None or view is None:
            return
        up = {server.name for server in view.servers if server.status == "UP" and server.weight}
        try:
            self._executor.in_rotation([node.id for node in self._wanted], up)
        except SupervisorFailed as error:
            self._troubles.began("rotation", error)
        else:
            self._troubles.ended("rotation", "The executor hears again which nodes are up.")

    def _tell(self, view: View | None, token: int) -> None:
        """Leave in the bus what the page and `nodes` show; nobody decides anything from it."""
        status = status_of(self._wanted, view, self._heard, self._site, self._options)
        status["nodes"] += [spare_row(node) for node in self._waiting or ()]
        status |= {
            "token": token,
            "executor": self._executor.name if self._executor else "none",
            "wanted": self._scaler.replicas(self._wanted),
            "troubles": self._troubles.now(),
            "scaling": scaling_of(self._scaler, self._spares),
        }
        with contextlib.suppress(redis.RedisError):  # told already, by _announced
            self._bus.set(STATUS_KEY, json.dumps(status), ex=STATUS_KEPT_S)


def _spares_of(options: BalancingConf, executor: Executor | None) -> dict[str, Spares]:
    """Return who keeps spares, by kind: nobody without an executor that can."""
    if executor is None or not executor.keeps_spares:
        return {}
    return {
        kind: Spares(kind, options.spares(kind), executor, options.boot_grace_s)
        for kind in BACKENDS
        if options.autoscale
    }
