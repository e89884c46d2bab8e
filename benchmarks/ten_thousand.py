"""`make bench-10k`: ten thousand keep-alive users on the whole site, all on this one machine.

HAProxy, two web nodes, a live node, PostgreSQL, two Valkeys, worker, beat, monitor, balancer and
the feed at 200 changes a second run beside the load generator (`benchmarks.users`). What is due
counts from when it is due, so a stall is charged to everybody it kept waiting.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy

from benchmarks.a_site import (
    Report,
    Site,
    a_site,
    cores_used,
    crowd_of,
    fill,
    paths_of_a_site,
    raise_limit,
)

SECONDS = float(os.environ.get("BENCH_SECONDS", 120))
PROCESSES = 2


@dataclass(frozen=True)
class Trial:
    """One row of the table."""

    name: str
    users: int
    every_s: float
    paths: dict[str, float]
    goal_p99_ms: float | None = None
    performance: dict[str, Any] = field(default_factory=dict)
    """Laid over settings.PERFORMANCE for this row's site; rows that agree share one site."""


def run(report: Report) -> None:
    """Run all rows; one site for each set of settings."""
    raise_limit()
    json_only, mix = paths_of_a_site()
    off = {"BALANCING": {"proxy_cache": False}}
    trials = [
        Trial("a mix, every 7.5 s", 10_000, 7.5, mix, 20),
        Trial("a mix, every 3 s", 10_000, 3.0, mix, 50),
        Trial("cached JSON, every second", 10_000, 1.0, json_only, 100),
        Trial("a mix, every 14.25 s", 19_000, 14.25, mix, 20),
        Trial("a mix, every 7.5 s, no proxy cache", 10_000, 7.5, mix, None, off),
        Trial("a mix, every 3 s, no proxy cache", 10_000, 3.0, mix, None, off),
    ]
    report.say(
        f"Each row runs {SECONDS:.0f} s; latency from when a request was due. Generator and site "
        "share this machine."
    )
    report.say()
    report.say("| users | what | wanted/s | got/s | errors | p50 ms | p99 ms | p99.9 ms | wanted |")
    report.say("|---|---|---|---|---|---|---|---|---|")
    notes: list[str] = []
    for performance in ({}, off):
        with a_site(performance) as site:
            for trial in trials:
                if trial.performance == performance:
                    notes.append(_measure(report, site, trial))
    report.say()
    for note in notes:
        report.say(note)


def _measure(report: Report, site: Site, trial: Trial) -> str:
    with crowd_of(
        site, users=trial.users, every_s=trial.every_s, seconds=SECONDS,
        paths=fill(site, trial.paths), processes=PROCESSES,
    ) as crowd:  # fmt: skip
        before, began = site.used(), time.monotonic()
        crowd.go()
        result = crowd.result()
        after, took_s = site.used(), time.monotonic() - began
    p50, p99, p999 = numpy.percentile(result.latencies_ms, [50, 99, 99.9])
    goal = "–" if trial.goal_p99_ms is None else f"p99 under {trial.goal_p99_ms:.0f} ms, 0 errors"
    report.say(
        f"| {trial.users:,} | {trial.name} | {trial.users / trial.every_s:,.0f} | "
        f"{len(result.latencies_ms) / SECONDS:,.0f} | {sum(result.errors.values())} | {p50:.2f} | "
        f"{p99:.1f} | {p999:.1f} | {goal} |"
    )
    shares = cores_used(before, after, took_s)
    used = ", ".join(f"{name} {share:.2f}" for name, share in shares.items() if share >= 0.01)
    said = f" Errors: {result.errors}." if result.errors else ""
    haproxy_mb = after.get("haproxy", (0.0, 0))[1] / 2**20
    return (
        f"- {trial.name}: cores used: {used}; the generator {result.cpu_s / took_s:.2f}; "
        f"HAProxy {haproxy_mb:.0f} MB.{said}"
    )


def main() -> None:
    from benchmarks.__main__ import HERE, Report, machine

    report = Report()
    report.say("# Ten thousand users")
    report.say()
    report.say(f"Written by `make bench-10k` on {datetime.now(UTC):%Y-%m-%d}: {machine()}.")
    report.say()
    run(report)
    (HERE / "TEN_THOUSAND.md").write_text("\n".join(report.lines) + "\n")


if __name__ == "__main__":
    main()
