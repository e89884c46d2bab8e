"""What public answers and invalidations cost, each beside what it is measured against.

- A public answer through a real granian node with monitoring on: CPU of the server's process.
- Invalidating a tag of 20,000 values beside deleting as many by a set of their keys.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psutil
import redis

from benchmarks import cached_board

SPORT = "soccer_small"
QUERY = f"sport={SPORT}&markets=h2h"
REQUESTS, ROUNDS, CONNECTIONS = 3_200, 3, 16
TAGGED = 20_000
WANTED_MEMORY_US, WANTED_STORE_US, WANTED_TAG_MS = 50, 150, 1.0
READY_WITHIN_S = 60
BOOKMAKERS, EVENTS = 12, 3
"""A board of about 10 KB."""


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from performance.caching.services import cache

    cached_board.fill(events=EVENTS, bookmakers=BOOKMAKERS, sport=SPORT)
    cache.purge()  # what an earlier benchmark has stored does not know this sport yet
    _public(report)
    _tag(report)


# --- a public answer ----------------------------------------------------------------------------


def _public(report: Report) -> None:
    path = f"{cached_board.PATH}?{QUERY}"
    best_us: dict[str, float] = {}
    size_bytes = 0
    with _node("protipp.settings") as memory, _node("benchmarks.settings_store_only") as store:
        for _ in range(ROUNDS):
            for name, node, asked in (
                ("from memory", memory, path),
                ("from the store", store, path),
                ("nothing but the liveness probe", memory, "/healthz"),
            ):
                us, size = node.cost_us(asked)
                best_us[name] = min(us, best_us.get(name, us))
                size_bytes = size if asked == path else size_bytes
    report.say(
        f"A public answer of {size_bytes / 1024:.1f} KB through granian with monitoring on, CPU of "
        f"the server's process, best of {ROUNDS} rounds of {REQUESTS:,}:"
    )
    bare_us = best_us["nothing but the liveness probe"]
    for name, us in best_us.items():
        report.say(f"- {name}: {us:.0f} us ({us / bare_us:.1f}x the liveness probe)")
    report.say(f"- wanted: {WANTED_MEMORY_US} us from memory, {WANTED_STORE_US} us from the store")


class Node:
    """A node that is asked over CONNECTIONS kept alive, a request on each at once."""

    def __init__(self, port: int, process: psutil.Process) -> None:
        self._port = port
        self._process = process

    def cost_us(self, path: str) -> tuple[float, int]:
        """Return the server's CPU a request over REQUESTS of them, and the body's size."""
        host = f"127.0.0.1:{self._port}"
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        sockets = [
            socket.create_connection(("127.0.0.1", self._port), timeout=10)
            for _ in range(CONNECTIONS)
        ]
        try:
            for _ in range(5):  # learns the headers, fills the tier
                size = self._round(sockets, request)
            before_s = self._cpu_s()
            for _ in range(REQUESTS // CONNECTIONS):
                size = self._round(sockets, request)
            spent_s = self._cpu_s() - before_s
        finally:
            for one in sockets:
                one.close()
        return spent_s / (REQUESTS // CONNECTIONS * CONNECTIONS) * 1e6, size

    def _round(self, sockets: list[socket.socket], request: bytes) -> int:
        for one in sockets:
            one.sendall(request)
        return [_read(one) for one in sockets][-1]

    def _cpu_s(self) -> float:
        everyone = [self._process, *self._process.children(recursive=True)]
        times = [process.cpu_times() for process in everyone]
        return sum(one.user + one.system for one in times)


def _read(one: socket.socket) -> int:
    """Read one answer and return the size of its body; SystemExit for any but a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += one.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"answered {head[:200]!r}")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
    while len(body) < size:
        body += one.recv(65_536)
    return size


@contextmanager
def _node(settings_module: str) -> Iterator[Node]:
    """Run one web node as the stack does, on a port of its own."""
    from protipp.stack import nodes

    number = 1 if settings_module == "protipp.settings" else 2
    spec = nodes.spec("web", f"web-{number}", {})
    environment = {
        **os.environ,
        **spec.environment,
        "DJANGO_SETTINGS_MODULE": settings_module,
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    process = subprocess.Popen(spec.argv, env=environment, cwd=spec.cwd)
    try:
        give_up_at = time.monotonic() + READY_WITHIN_S
        while (why := spec.waiting_for()) is not None:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise SystemExit(f"granian does not answer: {why}")
            time.sleep(0.2)
        port = int(nodes.address(spec).rpartition(":")[2])
        yield Node(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- a tag --------------------------------------------------------------------------------------


def _tag(report: Report) -> None:
    from performance.caching.services import cache, cached
    from performance.core import stores

    @cached(
        "bench.tagged", ttl_s=3600, memory_s=0, tags=lambda number: ["bench:all"], entries=10**6
    )
    def tagged(number: int) -> int:
        return number

    client = stores.cache_store()
    for number in range(TAGGED):
        tagged(number)
    times_ms = []
    commands = _commands(client)
    for _ in range(50):
        started = time.perf_counter()
        cache.invalidate("bench:all")
        times_ms.append((time.perf_counter() - started) * 1000)
    sent = {
        name: round((calls - commands.get(name, 0)) / 50, 1)
        for name, calls in _commands(client).items()
        if name not in ("info", "ping") and calls - commands.get(name, 0) >= 50
    }
    tag_ms = statistics.median(times_ms)
    set_ms = _by_set(client)
    told = ", ".join(f"{calls:g} {name}" for name, calls in sent.items())
    report.say()
    report.say(
        f"Invalidating a tag of {TAGGED:,} values: {tag_ms:.2f} ms, one round trip ({told}; wanted "
        f"under {WANTED_TAG_MS:g} ms). Deleting them by a set of their keys: {set_ms:.1f} ms, "
        f"{set_ms / tag_ms:.0f}x."
    )


def _by_set(client: Any) -> float:
    """Return the ms that a tag kept as a set takes: SMEMBERS, then UNLINK of all; best of 3."""
    from django.conf import settings

    best_ms = float("inf")
    keys = [f"bench:set:{number}" for number in range(TAGGED)]
    for _ in range(3):
        for start in range(0, TAGGED, 1_000):
            part = keys[start : start + 1_000]
            pipeline = client.pipeline(transaction=False)
            pipeline.sadd("bench:set", *part)
            pipeline.mset(dict.fromkeys(part, b"x" * 50))
            pipeline.execute()
        patient = redis.Redis.from_url(settings.CACHE_URL, socket_timeout=10, protocol=2)
        started = time.perf_counter()
        patient.unlink(*patient.smembers("bench:set"), "bench:set")
        best_ms = min(best_ms, (time.perf_counter() - started) * 1000)
        patient.close()
    return best_ms


def _commands(client: Any) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()}
