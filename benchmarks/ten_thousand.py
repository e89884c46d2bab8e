"""`make bench-10k`: ten thousand keep-alive users on the whole site, all on this one machine.

HAProxy, two web nodes, a live node, PostgreSQL, two Valkeys, worker, beat, monitor, balancer and
the feed at 200 changes a second run beside the load generator (`benchmarks.users`). What is due
counts from when it is due, so a stall is charged to everybody it kept waiting.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy
import psutil

ROOT = Path(__file__).resolve().parent.parent
SECONDS = float(os.environ.get("BENCH_SECONDS", 120))
PROCESSES = 2
STARTS_WITHIN_S = 180
CONNECTS_WITHIN_S = 120


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


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


class Site:
    """A `manage.py up` of its own."""

    def __init__(self, performance: dict[str, Any]) -> None:
        self.local = Path(tempfile.mkdtemp(prefix="protipp-10k-"))
        self.local.chmod(0o711)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1] % 12_000 + 20_000  # below those of outgoing ones
        hidden = ("DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "PROTIPP_PROCESS")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        balancing = {"max_connections": 19_500, "max_web": 2, **performance.get("BALANCING", {})}
        environment |= {
            "PROTIPP_LOCAL_DIR": str(self.local), "PORT": str(self.port),
            "PERFORMANCE": json.dumps(performance | {"BALANCING": balancing}),
        }  # fmt: skip
        self.output = self.local / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up"],
                stdout=output, stderr=output, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN_S
        while "· Ctrl-C" not in self.output.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise SystemExit(f"The site did not start: {self.output.read_text()[-2000:]}")
            time.sleep(0.2)
        while not self.get("/api/v1/sports"):
            time.sleep(0.5)  # the feed's first batches

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def used(self) -> dict[str, tuple[float, int]]:
        """Return CPU seconds and resident bytes so far, by process of the stack."""
        noted = json.loads((self.local / "processes.json").read_text())
        found = {}
        for one in noted:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [psutil.Process(one["pid"])]
                family += family[0].children(recursive=True)
                cpu_s = sum(sum(process.cpu_times()[:2]) for process in family)
                found[one["name"]] = (cpu_s, sum(process.memory_info().rss for process in family))
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        shutil.rmtree(self.local, ignore_errors=True)


def run(report: Report) -> None:
    """Run all rows; one site for each set of settings."""
    _raise_limit()
    json_only, mix = _paths_of_a_site()
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
        with _site(performance) as site:
            for trial in trials:
                if trial.performance == performance:
                    notes.append(_measure(report, site, trial))
    report.say()
    for note in notes:
        report.say(note)


def _paths_of_a_site() -> tuple[dict[str, float], dict[str, float]]:
    """Return what is asked for, by its share: JSON alone, and 85 % JSON with pages and lists."""
    json_only = {
        "/api/v1/odds?sport={sport}": 60.0,
        "/api/v1/sports": 15.0,
        "/api/v1/arbitrage": 10.0,
    }
    return json_only, json_only | {"/?sport={sport}": 6.0, "/{event}": 5.0, "/arbitrage/": 4.0}


@contextlib.contextmanager
def _site(performance: dict[str, Any]) -> Iterator[Site]:
    site = Site(performance)
    try:
        yield site
    finally:
        site.end()


def _filled(site: Site, paths: dict[str, float]) -> dict[str, float]:
    """Put in the site's own sports and events, each with its part of the share."""
    sports = [sport["key"] for sport in site.get("/api/v1/sports")][:8]
    events = []
    for sport in sports[:3]:
        events += [event["id"] for event in site.get(f"/api/v1/odds?sport={sport}")][:10]
    filled: dict[str, float] = {}
    for path, share in paths.items():
        if "{sport}" in path:
            filled |= {path.format(sport=sport): share / len(sports) for sport in sports}
        elif "{event}" in path:
            filled |= {f"/events/{event}/": share / len(events) for event in events}
        else:
            filled[path] = share
    return filled


def _measure(report: Report, site: Site, trial: Trial) -> str:
    files = [site.local / f"latencies-{number}" for number in range(PROCESSES)]
    generators = []
    before: dict[str, tuple[float, int]] = {}
    try:
        for number, file in enumerate(files):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.users"], cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            generators.append(process)
            order = {
                "users": trial.users // PROCESSES, "every_s": trial.every_s, "seconds": SECONDS,
                "host": "127.0.0.1", "port": site.port, "paths": _filled(site, trial.paths),
                "seed": number, "file": str(file),
            }  # fmt: skip
            _tell(process, json.dumps(order))
        for process in generators:
            if _read(process) != "connected":
                raise SystemExit(f"{trial.name}: the users could not connect.")
        before, began = site.used(), time.monotonic()
        for process in generators:
            _tell(process, "go")
        results = [json.loads(_read(process)) for process in generators]
        after, took_s = site.used(), time.monotonic() - began
    finally:
        for process in generators:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    return _row(report, trial, results, files, before, after, took_s)


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _row(
    report: Report, trial: Trial, results: list[dict[str, Any]], files: list[Path],
    before: dict[str, tuple[float, int]], after: dict[str, tuple[float, int]], took_s: float,
) -> str:  # fmt: skip
    latencies_ms = numpy.concatenate([numpy.fromfile(file, dtype="f4") for file in files]) * 1e3
    errors: dict[str, int] = {}
    for result in results:
        for name, count in result["errors"].items():
            errors[name] = errors.get(name, 0) + count
    p50, p99, p999 = numpy.percentile(latencies_ms, [50, 99, 99.9])
    goal = "–" if trial.goal_p99_ms is None else f"p99 under {trial.goal_p99_ms:.0f} ms, 0 errors"
    report.say(
        f"| {trial.users:,} | {trial.name} | {trial.users / trial.every_s:,.0f} | "
        f"{len(latencies_ms) / SECONDS:,.0f} | {sum(errors.values())} | {p50:.2f} | {p99:.1f} | "
        f"{p999:.1f} | {goal} |"
    )
    cores = {
        name: (cpu_s - before[name][0]) / took_s
        for name, (cpu_s, _) in after.items()
        if name in before
    }
    used = ", ".join(
        f"{name} {share:.2f}"
        for name, share in sorted(cores.items(), key=lambda item: -item[1])
        if share >= 0.01
    )
    said = f" Errors: {errors}." if errors else ""
    haproxy_mb = after.get("haproxy", (0.0, 0))[1] / 2**20
    return f"- {trial.name}: cores used: {used}; HAProxy {haproxy_mb:.0f} MB.{said}"


def _raise_limit() -> None:
    """Let each process have as many files as it may: a user is one in its generator."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 10_500:
        raise SystemExit(f"`ulimit -Hn` is {hard}; ten thousand users need 10,500 at least.")


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
