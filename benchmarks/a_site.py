"""A whole site for the benchmarks that need one, and crowds of users that ask it.

`manage.py up` with its feed, in a folder and on a port of its own; users come from processes of
their own (`benchmarks.users`), so that the generator is not what is measured.
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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy
import psutil

from protipp.stack.processes import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
STARTS_WITHIN_S = 180
NODES_WITHIN_S = 60
SAME_FOR_S = 8
HIDDEN = ("DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "PROTIPP_PROCESS")
MORTAL: dict[str, Any] = {"preexec_fn": die_with_parent(signal.SIGTERM)}
"""What we start ends with us, also when we are killed while it starts."""
Usage = dict[str, tuple[float, int]]
"""CPU seconds and resident bytes so far, by process of the stack."""


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


class Site:
    """A `manage.py up` of its own; `end` it. `environment` goes over what this process has."""

    def __init__(
        self, performance: dict[str, Any], *, source: str = "simulate", **environment: str
    ) -> None:
        self.local = Path(tempfile.mkdtemp(prefix="protipp-site-"))
        self.local.chmod(0o711)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1] % 12_000 + 20_000  # below those of outgoing ones
        given = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        # A node that boots beside what is measured would be measured too.
        calm = {"max_connections": 19_500, "max_web": 2, "spare_web": 0}
        balancing = calm | performance.get("BALANCING", {})
        self.environment = {
            **given, "PROTIPP_LOCAL_DIR": str(self.local), "PORT": str(self.port),
            "PERFORMANCE": json.dumps(performance | {"BALANCING": balancing}), **environment,
        }  # fmt: skip
        self.output = self.local / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", "--source", source],
                stdout=output, stderr=output, env=self.environment, **MORTAL,
            )  # fmt: skip
        try:
            self._await(lambda: "· Ctrl-C" in self.output.read_text(errors="replace"), "start")
            if source != "none":
                self._await(self._shows_its_feed, "show the feed's odds")
        except BaseException:
            self.end()
            raise

    def _await(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not true():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The site did not {what}: {self.output.read_text()[-2000:]}")
            time.sleep(0.2)

    def _shows_its_feed(self) -> bool:
        """Whether all nodes have known the same sports for longer than an answer is kept."""
        first = self.sports()
        until = time.monotonic() + SAME_FOR_S
        while time.monotonic() < until:
            time.sleep(0.5)
            if self.sports() != first:
                return False
        return len(first) >= 5 and len(self.events()) >= 10

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def sports(self) -> list[str]:
        return [sport["key"] for sport in self.get("/api/v1/sports")][:8]

    def events(self) -> list[str]:
        """Return some events of the first sports; none of one that has no odds yet."""
        found: list[str] = []
        for sport in self.sports()[:3]:
            with contextlib.suppress(urllib.error.HTTPError):
                found += [event["id"] for event in self.get(f"/api/v1/odds?sport={sport}")][:10]
        return found

    def setting(self, name: str) -> str:
        known = json.loads((self.local / "stack.json").read_text())["environment"]
        return str(known[name])

    def command(self, *words: str) -> str:
        """Run a `manage.py` command beside the site; return what it printed."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *words],
            env=self.environment, timeout=60, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def nodes(self) -> list[dict[str, Any]]:
        """Return what the balancer says of each node now."""
        import redis

        with contextlib.closing(redis.Redis.from_url(self.setting("REDIS_URL"))) as bus:
            raw: Any = bus.get("balancing:status")
        return list(json.loads(raw)["nodes"]) if raw else []

    def states(self, kind: str) -> list[str]:
        """Return the states of this kind's nodes, without those that wait as spares."""
        found = [node["state"] for node in self.nodes() if node["kind"] == kind]
        return [state for state in found if state != "spare"]

    def wait_for_nodes(self, kind: str, count: int) -> None:
        """Wait until exactly so many nodes of a kind are up."""
        deadline = time.monotonic() + NODES_WITHIN_S
        while True:
            mine = self.states(kind)
            if mine == ["up"] * count:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{count} {kind} nodes were wanted, there are: {mine}")
            time.sleep(0.2)

    def used(self) -> Usage:
        noted = json.loads((self.local / "processes.json").read_text())
        found = {}
        for one in noted:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [psutil.Process(one["pid"])]
                family += family[0].children(recursive=True)
                cpu_s = sum(sum(process.cpu_times()[:2]) for process in family)
                found[one["name"]] = (cpu_s, sum(process.memory_info().rss for process in family))
        return found

    def memory(self, prefix: str) -> int:
        """Return the resident bytes of all processes whose names begin so."""
        return sum(size for name, (_, size) in self.used().items() if name.startswith(prefix))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        shutil.rmtree(self.local, ignore_errors=True)


@contextlib.contextmanager
def a_site(
    performance: dict[str, Any], *, source: str = "simulate", **environment: str
) -> Iterator[Site]:
    site = Site(performance, source=source, **environment)
    try:
        yield site
    finally:
        site.end()


def paths_of_a_site() -> tuple[dict[str, float], dict[str, float]]:
    """Return what is asked for, by its share: JSON alone, and 85 % JSON with pages and lists."""
    json_only = {
        "/api/v1/odds?sport={sport}": 60.0,
        "/api/v1/sports": 15.0,
        "/api/v1/arbitrage": 10.0,
    }
    return json_only, json_only | {"/?sport={sport}": 6.0, "/{event}": 5.0, "/arbitrage/": 4.0}


def fill(site: Site, paths: dict[str, float]) -> dict[str, float]:
    """Put in the site's own sports and events, each with its part of the share."""
    sports, events = site.sports(), site.events()
    filled: dict[str, float] = {}
    for path, share in paths.items():
        if "{sport}" in path:
            filled |= {path.format(sport=sport): share / len(sports) for sport in sports}
        elif "{event}" in path:
            filled |= {f"/events/{event}/": share / len(events) for event in events}
        else:
            filled[path] = share
    return filled


@dataclass(frozen=True)
class Result:
    """What all users of one crowd saw."""

    latencies_ms: numpy.ndarray[Any, Any]
    errors: dict[str, int]
    cpu_s: float
    """Of the generator itself."""


class Crowd:
    """Users in processes of their own, connected and waiting for `go`; `result` waits for them."""

    def __init__(
        self, site: Site, *, users: int, every_s: float, seconds: float, paths: dict[str, float],
        processes: int = 1, port: int | None = None, eager: bool = False,
    ) -> None:  # fmt: skip
        self._site = site
        self.generators: list[subprocess.Popen[str]] = []
        self._files: list[Path] = []
        for number in range(processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.users"], cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, **MORTAL,
            )  # fmt: skip
            self.generators.append(process)
            self._files.append(site.local / f"latencies-{process.pid}")
            order = {
                "users": users // processes, "every_s": every_s, "seconds": seconds,
                "host": "127.0.0.1", "port": port or site.port, "paths": paths, "seed": number,
                "file": str(self._files[-1]), "eager": eager,
            }  # fmt: skip
            tell(process, json.dumps(order))
        for process in self.generators:
            if read_line(process) != "connected":
                self.end()
                raise SystemExit(f"{users} users could not connect.")

    def go(self) -> None:
        for process in self.generators:
            tell(process, "go")

    def result(self) -> Result:
        said = [json.loads(read_line(process)) for process in self.generators]
        errors: dict[str, int] = {}
        for one in said:
            for name, count in one["errors"].items():
                errors[name] = errors.get(name, 0) + count
        latencies = [numpy.fromfile(file, dtype="f4") for file in self._files]
        cpu_s = sum(one["cpu_s"] for one in said)
        return Result(numpy.concatenate(latencies) * 1e3, errors, cpu_s)

    def end(self) -> None:
        for process in self.generators:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@contextlib.contextmanager
def crowd_of(site: Site, **order: Any) -> Iterator[Crowd]:
    crowd = Crowd(site, **order)
    try:
        yield crowd
    finally:
        crowd.end()


def cores_used(before: Usage, after: Usage, took_s: float) -> dict[str, float]:
    """Return the share of a core of each process that was there all the time, most first."""
    shares = {
        name: (cpu_s - before[name][0]) / took_s
        for name, (cpu_s, _) in after.items()
        if name in before
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def raise_limit() -> None:
    """Let each process have as many files as it may: a user is one in its generator."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 10_500:
        raise SystemExit(f"`ulimit -Hn` is {hard}; ten thousand users need 10,500 at least.")
