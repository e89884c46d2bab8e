"""Thousands of live sockets with a broadcast each second, while HTTP goes on.

5,000 on one live node, then 9,000 over two, all through HAProxy on the whole site with its feed.
The spread is counted from the first socket that has a broadcast to each of the others; the hub
gathers for a quarter of a second before it speaks, which is told beside it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import redis

from benchmarks.a_site import (
    ROOT,
    Report,
    Site,
    crowd_of,
    fill,
    paths_of_a_site,
    raise_limit,
    read_line,
    tell,
)

BROADCASTS = 18
WARM = 5
"""The first ones are not counted: pages that the crowd asks for first are drawn meanwhile."""
HTTP_USERS = 300
HEAD = (
    "| sockets | live nodes | served | lost | refused at first | spread p50 ms | p99 ms | wanted "
    "| p99 after publishing ms | KB a socket | HTTP p99 ms | HTTP errors |"
)
CHANNEL = "odds:changes"
TOPIC = "benchmark"
"""A sport that the feed does not have, so that each socket gets our broadcasts and no others."""


@dataclass(frozen=True)
class Seen:
    """What all sockets of one row saw."""

    spread_ms: numpy.ndarray[Any, Any]
    after_publishing_ms: numpy.ndarray[Any, Any]
    served: int
    lost: int
    refused: int
    """Handshakes that were refused and tried again."""


def run(report: Report) -> None:
    raise_limit()
    site = Site({"BALANCING": {"autoscale": False, "min_live": 1, "max_live": 2}})
    try:
        report.say(HEAD)
        report.say("|" + "---|" * 12)
        _row(report, site, sockets=5_000, live_nodes=1, goal_ms=300)
        site.command("scale", "live=2")
        site.wait_for_nodes("live", 2)
        _row(report, site, sockets=9_000, live_nodes=2, goal_ms=500)
    finally:
        site.end()


def _row(report: Report, site: Site, *, sockets: int, live_nodes: int, goal_ms: int) -> None:
    before = site.memory("live")
    with _listeners(site, sockets) as listeners:
        memory_kb = (site.memory("live") - before) / sockets / 1024
        with crowd_of(
            site, users=HTTP_USERS, every_s=1.0, seconds=BROADCASTS + 1.0,
            paths=fill(site, paths_of_a_site()[1]),
        ) as crowd:  # fmt: skip
            crowd.go()
            published = _broadcast(site)
            http = crowd.result()
        seen = _seen(listeners, published, sockets)
    p50, p99 = numpy.percentile(seen.spread_ms, [50, 99])
    late_ms = numpy.percentile(seen.after_publishing_ms, 99)
    wanted = sockets * (BROADCASTS - WARM)
    errors = sum(http.errors.values())
    report.say(
        f"| {sockets:,} | {live_nodes} | {seen.served:,} of {wanted:,} | {seen.lost} | "
        f"{seen.refused} | {p50:.0f} | {p99:.0f} | under {goal_ms} | {late_ms:.0f} | "
        f"{memory_kb:.0f} | {numpy.percentile(http.latencies_ms, 99):.1f} | {errors} |"
    )


@contextlib.contextmanager
def _listeners(site: Site, sockets: int) -> Iterator[list[tuple[subprocess.Popen[str], Path]]]:
    """Open all sockets from two processes; both are ended with the block."""
    found: list[tuple[subprocess.Popen[str], Path]] = []
    try:
        for number in range(2):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.listeners"], cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True,  # Linux shares cores out by session: not with the crowd
            )  # fmt: skip
            file = site.local / f"heard-{number}"
            found.append((process, file))
            order = {
                "sockets": sockets // 2, "first": number * 500, "host": "127.0.0.1",
                "port": site.port, "path": f"/ws/odds/?sport={TOPIC}", "file": str(file),
            }  # fmt: skip
            tell(process, json.dumps(order))
        for process, _ in found:
            if read_line(process) != "connected":
                raise SystemExit(f"{sockets} sockets could not all be opened.")
        yield found
    finally:
        for process, _ in found:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _broadcast(site: Site) -> list[float]:
    """Publish once a second; return when, by the monotonic clock of the whole machine."""
    bus = redis.Redis.from_url(site.setting("REDIS_URL"))
    change = {
        "event": TOPIC, "sport": TOPIC, "bookmaker": "b", "market": "h2h", "outcome": "o",
    }  # fmt: skip
    published = []
    began = time.monotonic()
    for number in range(BROADCASTS):
        time.sleep(max(0.0, began + number - time.monotonic()))
        published.append(time.monotonic())
        bus.publish(CHANNEL, json.dumps({"id": 0, "changes": [change | {"price": number}]}))
    bus.close()
    return published


def _seen(
    listeners: list[tuple[subprocess.Popen[str], Path]], published: list[float], sockets: int
) -> Seen:
    time.sleep(2)  # what is still on its way
    lost, refused, numbers, times = 0, 0, [], []
    for process, file in listeners:
        tell(process, "go")
        said = json.loads(read_line(process))
        lost, refused = lost + said["lost"], refused + said["refused"]
        data = file.read_bytes()
        half = 8 * said["seen"]
        numbers.append(numpy.frombuffer(data[:half], dtype="i8"))
        times.append(numpy.frombuffer(data[half:], dtype="f8"))
    number, time_s = numpy.concatenate(numbers), numpy.concatenate(times)
    spread, late = [], []
    for broadcast in range(WARM, BROADCASTS):
        heard = time_s[number == broadcast]
        if len(heard):
            spread.append(1e3 * (heard - heard.min()))
            late.append(1e3 * (heard - published[broadcast]))
    if not spread:
        raise SystemExit("No socket heard a broadcast.")
    served = sum(min(len(one), sockets) for one in spread)
    return Seen(numpy.concatenate(spread), numpy.concatenate(late), served, lost, refused)
