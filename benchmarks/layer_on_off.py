"""Every route with the whole performance layer on, and with `PERFORMANCE_LAYER=0`.

Two processes, one with and one without, hold the site's WSGI application as a web node has it and
are asked in turn, without network or proxy. `hit`: what a visitor meets whose answer is kept.
`miss`: nothing is kept anywhere. Without the layer both are the same. `write` is a POST, counted.
What is compared is processor time of the process and time, each the median of alternating rounds.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import brotli

from benchmarks import cached_board

ROUNDS, A_ROUND = 12, 8
WANTED_SHARE = 0.05
VITALS = json.dumps({"path": "/", "vitals": [{"name": "LCP", "value": 812.5}]})


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)  # pages name what is built
    cached_board.fill(events=cached_board.EVENTS, bookmakers=cached_board.BOOKMAKERS)
    sides = {name: _start(name) for name in ("on", "off")}
    try:
        event = _ask(sides["on"], {"event": cached_board.SPORT})["id"]
        report.say("| route | what | off ms | on ms | on/off time | on/off processor |")
        report.say("|---|---|---|---|---|---|")
        for path, kinds in _routes(event).items():
            for kind in kinds:
                _compare(report, sides, path, kind)
    finally:
        for process in sides.values():
            process.kill()
            process.wait()
    report.say()
    report.say(f"Wanted: no route slower by more than {WANTED_SHARE:.0%} with the layer on.")


def _routes(event: str) -> dict[str, tuple[str, ...]]:
    both = ("hit", "miss")
    return {
        f"/api/v1/odds?sport={cached_board.SPORT}": both,
        "/api/v1/sports": both,
        f"/api/v1/events/{event}": both,
        "/api/v1/arbitrage": both,
        f"/?sport={cached_board.SPORT}": both,
        f"/events/{event}/": both,
        "/arbitrage/": both,
        "/admin/login/": ("hit",),
        "/healthz": ("hit",),
        "/api/v1/performance/vitals": ("write",),
    }


def _start(name: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PERFORMANCE_LAYER": "1" if name == "on" else "0",
        "PROTIPP_PROCESS": "web",
        "PROTIPP_NODE_ID": f"bench-{name}",
        "PERFORMANCE": json.dumps({"MONITORING": {"vitals_per_minute": 1_000_000}}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.layer_on_off"],
        env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def _compare(report: Report, sides: dict[str, subprocess.Popen[str]], path: str, kind: str) -> None:
    seen: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for side in sides.values():
        _ask(side, {"path": path, "kind": "hit" if kind != "write" else kind, "calls": 5})
    for number in range(ROUNDS):
        names = ("on", "off") if number % 2 else ("off", "on")
        for name in names:
            order = {"path": path, "kind": kind, "calls": A_ROUND}
            seen[name] += _ask(sides[name], order)["took_ms"]
    time_on, cpu_on = (statistics.median(one[index] for one in seen["on"]) for index in (0, 1))
    time_off, cpu_off = (statistics.median(one[index] for one in seen["off"]) for index in (0, 1))
    report.say(
        f"| {path.partition('?')[0][:34]} | {kind} | {time_off:.2f} | {time_on:.2f} "
        f"| {time_on / time_off:.2f} | {cpu_on / cpu_off:.2f} |"
    )


def _ask(process: subprocess.Popen[str], order: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


# --- in the process that is asked -----------------------------------------------------------------


def _serve() -> None:
    from protipp.wsgi import application

    for line in sys.stdin:
        order = json.loads(line)
        if "event" in order:
            answer = _an_event(application, order["event"])
        else:
            answer = {"took_ms": [_timed(application, order) for _ in range(order["calls"])]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _an_event(application: Callable[..., Any], sport: str) -> dict[str, str]:
    _, body = _call(application, f"/api/v1/odds?sport={sport}")
    return {"id": json.loads(brotli.decompress(body))[0]["id"]}


def _timed(application: Callable[..., Any], order: dict[str, Any]) -> tuple[float, float]:
    if order["kind"] == "miss":
        _forget_everything()
    body = VITALS if order["kind"] == "write" else ""
    began, cpu = time.perf_counter(), time.process_time()
    status, _ = _call(application, order["path"], body)
    took = (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
    if status[0] != "2":
        raise SystemExit(f"{order['path']} answered {status}")
    return took


def _forget_everything() -> None:
    """Leave nothing in the store or in memory, as after a long time without readers."""
    from performance.caching.services import cache
    from performance.core import stores

    stores.cache_store().flushall()
    for family in cache.families():
        family.memory.clear()
    time.sleep(0.005)


def _call(application: Callable[..., Any], path: str, body: str = "") -> tuple[str, bytes]:
    raw, _, query = path.partition("?")
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": raw, "QUERY_STRING": query,
        "SCRIPT_NAME": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_ACCEPT_ENCODING": "br", "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    answer = application(environ, lambda status, *rest: said.append(status))
    data = b"".join(answer)
    if callable(close := getattr(answer, "close", None)):
        close()
    return said[0], data


if __name__ == "__main__":
    _serve()
