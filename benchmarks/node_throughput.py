"""How much 1, 2 and 4 web nodes answer, and what the proxy adds to an answer's CPU.

Users who ask again as soon as they are answered, through HAProxy with its cache off, so that each
answer is a node's. Generator, proxy, PostgreSQL and nodes share this machine: where it has few
cores, more nodes than cores cannot answer more. What a node costs an answer is told beside it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy

from benchmarks.a_site import Report, Site, Usage, a_site, crowd_of

SECONDS = 6.0
USERS = 32
ROUNDS = 3
CACHED = {"/api/v1/sports": 1.0}
ABSENT = {
    f"/api/v1/odds?sport=none&commenceTimeFrom=2030-01-01T00:{minute:02}:{second:02}Z": 1.0
    for minute in range(60)
    for second in range(60)
}
"""Never asked before and not there: each goes to Django, and is answered 404 by a query."""


@dataclass(frozen=True)
class Round:
    per_s: float
    p50_ms: float
    errors: int
    us_each: dict[str, float]
    """CPU microseconds an answer, by process."""


def run(report: Report) -> None:
    balancing = {
        "proxy_cache": False, "autoscale": False, "min_web": 1, "max_web": 4, "shed_above": 0,
    }  # fmt: skip
    with a_site({"BALANCING": balancing}, source="none") as site:
        report.say(
            "| web nodes | cached JSON/s | a query each/s | errors | node us a cached answer "
            "| proxy us |"
        )
        report.say("|---|---|---|---|---|---|")
        for count in (1, 2, 4):
            site.command("scale", f"web={count}")
            site.wait_for_nodes("web", count)
            cached = _round(site, CACHED, ok={"200"})
            asked = _round(site, ABSENT, ok={"404"})
            node_us = sum(us for name, us in cached.us_each.items() if name.startswith("web"))
            report.say(
                f"| {count} | {cached.per_s:,.0f} | {asked.per_s:,.0f} | "
                f"{cached.errors + asked.errors} | {node_us:.0f} | "
                f"{cached.us_each.get('haproxy', 0.0):.0f} |"
            )
        _proxy(report, site)


def _proxy(report: Report, site: Site) -> None:
    """One node, asked directly and through the proxy by turns; medians of the rounds."""
    site.command("scale", "web=1")
    site.wait_for_nodes("web", 1)
    address = next(node["address"] for node in site.nodes() if node["kind"] == "web")
    direct_port = int(address.rpartition(":")[2])
    direct, through = [], []
    for _ in range(ROUNDS):
        direct.append(_round(site, CACHED, ok={"200"}, port=direct_port, users=1))
        through.append(_round(site, CACHED, ok={"200"}, users=1))
    added_us = statistics.median(one.us_each.get("haproxy", 0.0) for one in through)
    node_us = [
        statistics.median(sum(us for name, us in one.us_each.items() if name[:3] == "web")
                          for one in rounds)
        for rounds in (direct, through)
    ]  # fmt: skip
    p50_ms = [statistics.median(one.p50_ms for one in rounds) for rounds in (direct, through)]
    report.say()
    report.say(
        f"- to {USERS} users the proxy's part of each answer is in the table (wanted: 55 us, a "
        f"prototype's). To one, for whom everybody wakes up each time: {added_us:.0f} us; the node "
        f"itself {node_us[0]:.0f} us asked directly, {node_us[1]:.0f} us behind it; the median "
        f"{p50_ms[0]:.2f} ms directly, {p50_ms[1]:.2f} ms through it"
    )


def _round(
    site: Site, paths: dict[str, float], *, ok: set[str], port: int | None = None,
    users: int = USERS,
) -> Round:  # fmt: skip
    with crowd_of(
        site, users=users, every_s=1.0, seconds=SECONDS, paths=paths, port=port, eager=True
    ) as crowd:  # fmt: skip
        before, began = site.used(), time.monotonic()
        crowd.go()
        result = crowd.result()
        after, took_s = site.used(), time.monotonic() - began
    answers = len(result.latencies_ms)
    errors = sum(count for name, count in result.errors.items() if name not in ok)
    return Round(
        per_s=answers / took_s, p50_ms=float(numpy.percentile(result.latencies_ms, 50)),
        errors=errors, us_each=_us_each(before, after, answers),
    )  # fmt: skip


def _us_each(before: Usage, after: Usage, answers: int) -> dict[str, float]:
    return {
        name: 1e6 * (cpu_s - before[name][0]) / max(1, answers)
        for name, (cpu_s, _) in after.items()
        if name in before
    }
