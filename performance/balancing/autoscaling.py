"""The scaler at work: samples from the proxy and the nodes, verdicts to the executor."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from django.db import connection

from performance.balancing import decisions, scaling
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import SupervisorFailed
from performance.balancing.executor import Executor
from performance.balancing.floors import Floors
from performance.balancing.forecasting import Forecast, nodes_for
from performance.balancing.haproxy import BACKENDS
from performance.balancing.models import DrainOrder, ScaleTarget
from performance.balancing.nodes import Node, free_ids
from performance.balancing.runtime import View
from performance.core import signals

AUTOSCALER = "autoscaler"
BOOT_LIMIT_S = 30.0
"""A node that was started and has not announced itself by then is no longer waited for."""
FAILED_PAUSE_S = 15.0
STARTED_TOLD_S = 60.0
"""A node that was started is told of for this long."""
_CAP_KEPT_S = 60.0


@dataclass(slots=True)
class KindState:
    """What is remembered of one kind between ticks. Times are monotonic seconds."""

    memory: scaling.Memory = field(default_factory=scaling.Memory)
    verdict: scaling.Verdict | None = None
    starting: dict[str, float] = field(default_factory=dict)
    """Name of a node that was started -> until when it is waited for."""
    forecast: Forecast | None = None
    short_since: float | None = None
    goal: int | None = None
    """Nodes wanted now, by a person or by demand."""
    present: int = 0
    """Nodes that were there or on their way at the last look."""
    had: int = 0
    """The most nodes seen since the wanted number fell; when there are fewer now, one died."""
    failed_at: float = -math.inf
    started: list[float] = field(default_factory=list)
    """When nodes were started within the last minute."""


class Scaler:
    """Decides for both kinds, each on its own; does nothing that needs an executor without one."""

    def __init__(self, options: BalancingConf, executor: Executor | None) -> None:
        self._options = options
        self._executor = executor
        self.kinds = {kind: KindState() for kind in BACKENDS}
        self._floors = Floors()
        if options.forecast:
            for kind, state in self.kinds.items():
                state.forecast = Forecast(kind, options.forecast_lead_s)
        self._let_in: list[Node] = []
        self._not_free: set[str] = set()
        self._most_connections: int | None = None
        self._asked_at = -math.inf

    def tick(
        self, wanted: Sequence[Node], view: View | None, token: int,
        spares: Sequence[Node] = (), leaving: Collection[str] = (),
    ) -> list[Node]:  # fmt: skip
        """Look once at each kind, and start or drain what the verdict or a person's target asks.

        Returns those of the `spares` that are to be let in now, before anything is started. The
        names of those that are `leaving` are given to nobody yet.
        """
        self._let_in = []
        self._not_free = {*leaving, *(node.id for node in spares)}
        pins = {target.kind: target for target in ScaleTarget.objects.all()}
        for kind, state in self.kinds.items():
            staying = [node for node in wanted if node.kind == kind and not node.draining]
            waiting = [node for node in spares if node.kind == kind]
            for node in (*staying, *waiting):
                state.starting.pop(node.id, None)
            self._forget_late(state)
            present = len(staying) + len(state.starting)
            others = sum(node.kind != kind for node in wanted)
            sample = self._ahead(kind, sample_of(kind, staying, view, present))
            state.verdict = scaling.decide(
                state.memory, sample, policy_of(self._options, kind, self._cap(others))
            )
            pin = pins.get(kind)
            if pin is not None:
                why = f"set to {pin.count} by {pin.by}"
                self._reach(kind, pin.count, present, why, token, wanted, waiting)
            elif self._options.autoscale:
                verdict = state.verdict
                self._reach(kind, verdict.count, present, verdict.reason, token, wanted, waiting)
            self._report(kind, state, state.verdict)
        return self._let_in

    def may_boot_spares(self, kind: str) -> bool:
        """Whether all nodes that are wanted of this kind are there: only then a spare may boot."""
        state = self.kinds[kind]
        return state.goal is not None and state.goal <= state.present and not state.starting

    def replicas(self, wanted: Sequence[Node]) -> dict[str, int | None]:
        """Return how many nodes of each kind there should be now, for who starts them by number.

        One that is being drained still counts, so that nothing takes it away before it is empty.
        None until there was a verdict.
        """
        found: dict[str, int | None] = {}
        for kind, state in self.kinds.items():
            leaving = sum(node.kind == kind and node.draining for node in wanted)
            found[kind] = None if state.goal is None else state.goal + leaving
        return found

    def _ahead(self, kind: str, sample: scaling.Sample) -> scaling.Sample:
        """Add what is wanted before demand is there: by the calendar, and by the time of week."""
        wants, unknown = self._floors.of(kind)
        forecast = self.kinds[kind].forecast
        if forecast is not None and sample.in_use is not None and sample.queued is not None:
            now = datetime.now(UTC)
            forecast.look(sample.in_use + sample.queued, now)
            usual = forecast.demand(now)
            if usual is not None:
                share = self._options.target_utilisation
                wants = wants | {"forecast": nodes_for(usual, self._options.slots(kind), share)}
        return replace(sample, floors=wants, unknown=unknown)

    @staticmethod
    def _report(kind: str, state: KindState, verdict: scaling.Verdict) -> None:
        """Tell monitoring what alerts are made of, each as a count that is 0 when all is calm."""
        seen = verdict.inputs
        recently_s = time.monotonic() - STARTED_TOLD_S
        state.started = [at_s for at_s in state.started if at_s > recently_s]
        counts = {
            "waiting": seen["queued"] or 0,
            "started": len(state.started),
            "short": max(0, seen["raw"] - seen["ceiling"]),
            "blind": len(seen["missing"]),
        }
        for what, count in counts.items():
            signals.recorder.gauge("scaling", f"{what} {kind}", float(count))

    def _cap(self, others: int) -> int | None:
        now = time.monotonic()
        if now - self._asked_at > _CAP_KEPT_S:
            with connection.cursor() as cursor:
                cursor.execute("show max_connections")
                self._most_connections = int(cursor.fetchone()[0])
            self._asked_at = now
        if self._most_connections is None:
            return None
        free = self._most_connections - self._options.database_reserve
        return max(0, free // self._options.database_per_node - others)

    def _reach(
        self, kind: str, count: int, present: int, reason: str, token: int, wanted: Sequence[Node],
        waiting: Sequence[Node],
    ) -> None:  # fmt: skip
        state = self.kinds[kind]
        state.goal = count
        let_in = waiting[: max(0, count - present)]
        for node in let_in:
            self._take(node, count, present, reason, token)
            present += 1
        state.present = present
        state.had = max(present, min(state.had, count))
        if count <= present:
            state.short_since = None
        if count > present and self._may_start(kind, count, present):
            self._start(kind, count, present, reason, token, wanted)
        elif count < present and not state.starting:
            self._stop(kind, count, present, reason, token, wanted)

    def _take(self, node: Node, count: int, present: int, reason: str, token: int) -> None:
        """Let a spare in: also where a node died and may come back, for it costs nothing."""
        state = self.kinds[node.kind]
        self._let_in.append(node)
        state.started.append(time.monotonic())
        decisions.record(
            "scale_up", kind=node.kind, node_id=node.id, by=AUTOSCALER, token=token,
            before=present, after=count, reason=f"{reason}; it waited as a spare",
            inputs=state.verdict.inputs if state.verdict else {},
        )  # fmt: skip

    def _may_start(self, kind: str, count: int, present: int) -> bool:
        """A node that died is started again by its supervisor: another is started only later."""
        now, state = time.monotonic(), self.kinds[kind]
        if now - state.failed_at < FAILED_PAUSE_S:
            return False
        if state.verdict is not None and state.verdict.inputs["raw"] > present:
            return True
        if count > max(state.had, self._options.bounds(kind)[0]) and present >= state.had:
            return True  # more than there ever were: nobody died, so nobody comes back
        state.short_since = state.short_since or now
        return now - state.short_since >= self._options.boot_grace_s

    def _start(
        self, kind: str, count: int, present: int, reason: str, token: int, wanted: Sequence[Node]
    ) -> None:
        state = self.kinds[kind]
        if self._executor is None:
            return
        taken = [*(node.id for node in wanted), *state.starting, *self._not_free]
        inputs = state.verdict.inputs if state.verdict else {}
        room = max(0, self._executor.at_once - len(state.starting))
        if room < count - present:
            state.memory.last_up_s = -math.inf  # the rest are decided again once these answer
        for node_id in free_ids(kind, taken, min(room, count - present)):
            try:
                self._executor.start(kind, node_id)
            except SupervisorFailed as error:
                state.failed_at = time.monotonic()
                decisions.record(
                    "failed", kind=kind, node_id=node_id, reason=str(error), by=AUTOSCALER,
                    before=present, after=count, inputs=inputs, token=token,
                )  # fmt: skip
                return
            state.starting[node_id] = time.monotonic() + BOOT_LIMIT_S
            state.started.append(time.monotonic())
            decisions.record(
                "scale_up", kind=kind, node_id=node_id, reason=reason, by=AUTOSCALER,
                before=present, after=count, inputs=inputs, token=token,
            )  # fmt: skip

    def _stop(
        self, kind: str, count: int, present: int, reason: str, token: int, wanted: Sequence[Node]
    ) -> None:
        """Order the drain of one node, the highest number: one at a time, whoever asks."""
        leaving = [node for node in wanted if node.kind == kind and node.draining]
        staying = [node for node in wanted if node.kind == kind and not node.draining]
        if self._executor is None or leaving or len(staying) < 2:
            return
        node = max(staying, key=lambda node: (len(node.id), node.id))
        _, created = DrainOrder.objects.get_or_create(
            node_id=node.id, done_at=None, defaults={"kind": kind, "stop": True, "by": AUTOSCALER}
        )
        if created:
            state = self.kinds[kind]
            decisions.record(
                "scale_down", kind=kind, node_id=node.id, reason=reason, by=AUTOSCALER,
                before=present, after=max(count, present - 1), token=token,
                inputs=state.verdict.inputs if state.verdict else {},
            )  # fmt: skip

    @staticmethod
    def _forget_late(state: KindState) -> None:
        now = time.monotonic()
        state.starting = {name: until for name, until in state.starting.items() if until > now}


def policy_of(options: BalancingConf, kind: str, cap: int | None = None) -> scaling.Policy:
    """Return the bounds and targets of this kind; `cap` is what the database allows of it."""
    low, high = options.bounds(kind)
    return scaling.Policy(
        slots=options.slots(kind), minimum=low, maximum=high, cap=cap,
        utilisation=options.target_utilisation, tolerance=options.tolerance,
        queue_target_ms=options.queue_target_ms, stable_s=options.stable_window_s,
        panic_s=options.panic_window_s, down_s=options.down_window_s,
        up_every_s=options.up_every_s, down_every_s=options.down_every_s,
    )  # fmt: skip


def sample_of(
    kind: str, staying: Sequence[Node], view: View | None, present: int
) -> scaling.Sample:
    """Return what is known of one kind now; what could not be measured is None."""
    cpus = [node.cpu_ratio for node in staying if node.cpu_ratio is not None]
    cpu_ratio = sum(cpus) / len(cpus) if cpus and len(cpus) == len(staying) else None
    backend = view.backends.get(kind) if view else None
    if view is None or backend is None:
        return scaling.Sample(
            at_s=time.monotonic(), ready=present, in_use=None, queued=None, cpu_ratio=cpu_ratio
        )
    in_use = sum(server.sessions for server in view.of(kind).values())
    queued = backend.queued + sum(server.queued for server in view.of(kind).values())
    return scaling.Sample(
        at_s=time.monotonic(), ready=present, in_use=in_use, queued=queued,
        # Where nodes do not tell it, Little's law again: the queue over how fast it empties.
        queue_ms=_queue_ms(staying, 1000.0 * queued / max(1, backend.rate_per_s)),
        cpu_ratio=cpu_ratio,
    )  # fmt: skip


def _queue_ms(staying: Sequence[Node], by_length_ms: float) -> float:
    """Return the worst node's 95th percentile of waiting; the mean by length where none tells."""
    told = [node.queue_p95_ms for node in staying if node.queue_p95_ms is not None]
    return max(told, default=by_length_ms)
