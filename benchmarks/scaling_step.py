"""How the autoscaler answers a step of 8, then 44, then 4 users who keep their slots busy.

Each user asks again once answered, for something that no cache has. Eight fit into the two nodes
that are always there and 44 are more than all six hold. The step comes only once the eight have run
for a while with an unchanged number of nodes, whatever that is on this machine; it is told. The
windows that wait before a node is stopped are shortened, which changes how long it takes to go down
and nothing of how it goes up. It is done with a node that waits as a spare, and with none.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.a_site import Crowd, Report, Result, Site, a_site, crowd_of
from benchmarks.node_throughput import ABSENT
from performance.balancing.runtime import Runtime

MINIMUM = 2
CALM_S, SETTLES_WITHIN_S = 8.0, 40.0
"""The number of nodes must not change for so long before the step."""
STEP_S, AFTER_S = 20.0, 25.0
OPTIONS = {
    "slots_web": 6, "min_web": MINIMUM, "max_web": 6, "proxy_cache": False, "shed_above": 0,
    "queue_timeout_s": 10, "stable_window_s": 15, "down_window_s": 15, "down_every_s": 5,
    "forecast": False, "database_per_node": 4, "database_reserve": 10,
}  # fmt: skip


@dataclass
class Watched:
    """What the proxy itself says of its web nodes, in seconds since this was made."""

    runtime: Runtime
    count: int | None = None
    """Nodes that were up last."""
    began: float = field(default_factory=time.monotonic)
    up: dict[str, float] = field(default_factory=dict)
    """When each node was first up."""
    answered: dict[str, float] = field(default_factory=dict)
    """When each was first seen with a request."""
    changes: list[tuple[float, int]] = field(default_factory=list)

    def until(self, end_s: float) -> None:
        while (now_s := time.monotonic() - self.began) < end_s:
            self._look(now_s)
            time.sleep(0.05)

    def _look(self, now_s: float) -> None:
        servers = self.runtime.view().of("web").values()
        working = [one for one in servers if one.status == "UP" and one.weight]
        for server in working:
            self.up.setdefault(server.name, now_s)
            if server.answers:
                self.answered.setdefault(server.name, now_s)
        if self.count != len(working):
            self.count = len(working)
            self.changes.append((now_s, self.count))


def run(report: Report) -> None:
    for spares in (1, 0):
        _step(report, spares)


def _step(report: Report, spares: int) -> None:
    with contextlib.ExitStack() as stack:
        options = OPTIONS | {"spare_web": spares}
        site = stack.enter_context(a_site({"BALANCING": options}, source="none"))
        site.wait_for_nodes("web", MINIMUM)
        runtime = Runtime(Path(site.setting("PROTIPP_HAPROXY_DIR")) / "admin.sock")

        def users(count: int, seconds: float) -> Crowd:
            crowd = crowd_of(
                site, users=count, every_s=1.0, seconds=seconds, paths=ABSENT, eager=True
            )
            return stack.enter_context(crowd)

        results = []
        while True:
            calm = users(8, CALM_S)
            crowds = [users(4, STEP_S + AFTER_S), users(4, STEP_S), users(36, STEP_S)]
            calm.go()
            before = Watched(runtime)
            before.until(CALM_S)
            results.append(calm.result())
            waiting = sum(node["state"] == "spare" for node in site.nodes())
            if len(before.changes) == 1 and waiting == spares:
                break
            if len(results) * CALM_S > SETTLES_WITHIN_S:
                raise SystemExit(f"Eight users never met the same nodes for {CALM_S:.0f} s.")
        for crowd in crowds:
            crowd.go()
        seen = Watched(runtime, before.changes[-1][1])
        log_from = time.time()
        seen.until(STEP_S + AFTER_S)
        results += [crowd.result() for crowd in crowds]
        decided = _decided(site, log_from)
    _tell(report, spares, set(before.up), seen, decided, results)


def _decided(site: Site, since_s: float) -> dict[str, tuple[float, str]]:
    """Return when each node was let in or started, in seconds since the step, and why."""
    with psycopg.connect(site.setting("DATABASE_URL")) as connection:
        rows = connection.execute(
            "select node_id, extract(epoch from at)::float8, reason "
            "from performance_balancing_decision "
            "where action = 'scale_up' and at >= to_timestamp(%s) order by id desc",
            [since_s],
        ).fetchall()
    return {name: (at_s - since_s, reason) for name, at_s, reason in rows}


def _tell(
    report: Report, spares: int, before: set[str], seen: Watched,
    decided: dict[str, tuple[float, str]], results: Sequence[Result],
) -> None:  # fmt: skip
    new = [name for name in seen.answered if name not in before]
    first_s = seen.answered[new[0]] if new else None
    answers = sum(len(result.latencies_ms) for result in results)
    errors: Counter[str] = Counter()
    for result in results:
        errors.update({name: count for name, count in result.errors.items() if name != "404"})
    course = ", ".join(f"{up} at {at_s:.1f} s" for at_s, up in seen.changes)
    report.say(
        f"- {spares} spare: 8 users met {len(before)} nodes for {CALM_S:.0f} s, then came 44: the "
        "first node more had its first request "
        + ("never" if first_s is None else f"{first_s:.1f} s after the step")
        + f" (wanted: within 5 s); {answers:,} answers, {errors.total()} failed (wanted: 0)"
        + (f" {dict(errors)}" if errors else "")
    )
    for name in new:
        found = decided.get(name)
        when = f"decided at {found[0]:.1f} s ({found[1]})" if found else "of an earlier decision"
        report.say(
            f"  - {name}: {when}, up in the proxy at "
            f"{seen.up[name]:.1f} s, first request seen at {seen.answered[name]:.1f} s"
        )
    report.say(f"  - nodes up since the step (4 users from {STEP_S:.0f} s on): {course}")
