"""How the autoscaler answers a step of 8, then 44, then 4 users who keep their slots busy.

Each user asks again once answered, for something that no cache has. Nodes have four slots, so that
44 users are far more than two nodes hold. The windows that wait before a node is stopped are
shortened, which changes how long it takes to go down and nothing of how it goes up.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field

from benchmarks.a_site import Crowd, Report, Site, a_site, crowd_of
from benchmarks.node_throughput import ABSENT

BEFORE_S, STEP_S, AFTER_S = 12.0, 30.0, 45.0
OPTIONS = {
    "slots_web": 4, "min_web": 2, "max_web": 6, "proxy_cache": False, "shed_above": 0,
    "queue_timeout_s": 10, "stable_window_s": 15, "down_window_s": 15, "down_every_s": 5,
    "forecast": False, "database_per_node": 4, "database_reserve": 10,
}  # fmt: skip


@dataclass
class Watched:
    """How many web nodes were up, whenever that changed, in seconds since the step."""

    began: float
    changes: list[tuple[float, int]] = field(default_factory=list)

    def until(self, site: Site, end_s: float) -> None:
        while (now_s := time.monotonic() - self.began) < end_s:
            up = sum(node["kind"] == "web" and node["state"] == "up" for node in site.nodes())
            if not self.changes or self.changes[-1][1] != up:
                self.changes.append((now_s, up))
            time.sleep(0.1)


def run(report: Report) -> None:
    step_ends_s = BEFORE_S + STEP_S
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(a_site({"BALANCING": OPTIONS}, source="none"))
        site.wait_for_nodes("web", 2)

        def users(count: int, seconds: float) -> Crowd:
            return stack.enter_context(
                crowd_of(
                    site, users=count, every_s=1.0, seconds=seconds, paths=ABSENT, eager=True
                )
            )  # fmt: skip

        crowds = [users(4, step_ends_s + AFTER_S), users(4, step_ends_s), users(36, STEP_S)]
        for crowd in crowds[:2]:
            crowd.go()
        time.sleep(BEFORE_S)
        crowds[2].go()
        seen = Watched(time.monotonic())
        seen.until(site, STEP_S + AFTER_S)
        results = [crowd.result() for crowd in crowds]
    errors: dict[str, int] = {}
    for result in results:
        for name, count in result.errors.items():
            if name != "404":
                errors[name] = errors.get(name, 0) + count
    _tell(report, seen, sum(len(result.latencies_ms) for result in results), errors)


def _tell(report: Report, seen: Watched, answers: int, errors: dict[str, int]) -> None:
    first_s = next((at_s for at_s, up in seen.changes if up > 2), None)
    most = max(up for _, up in seen.changes)
    course = ", ".join(f"{up} at {at_s:.1f} s" for at_s, up in seen.changes)
    report.say(
        "- 8 users, then 44, then 4: the first new node answered "
        + ("never" if first_s is None else f"{first_s:.1f} s after the step")
        + f" (wanted: within 5 s), {most} at the most; {answers:,} answers, "
        f"{sum(errors.values())} failed (wanted: 0){f' {errors}' if errors else ''}"
    )
    report.say(f"- nodes up since the step up (the step down came at {STEP_S:.0f} s): {course}")
