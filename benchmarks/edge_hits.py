"""The edge: CPU of a hit beside Django's, purges by tag, and many cold clients of one answer.

Varnish runs with the VCL of deploy/varnish over one web node of ours (granian, as `up` starts it).
CPU is what the processes used, so other work on the machine does not count.
"""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psutil

AT_ONCE = 16
HITS, RAW = 16_000, 1_600
OBJECTS = 1_000
COLD_CLIENTS = 200
BROWSER = {"Host": "localhost", "Accept-Encoding": "br, gzip"}
RAW_WSGI = "benchmarks.raw_wsgi:application"
ASSET = "admin/js/vendor/jquery/jquery.js"


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    if shutil.which("varnishd") is None:
        report.say("- not measured: Varnish is not installed (apt install varnish varnish-modules)")
        return
    from django.core.management import call_command

    from protipp.stack import edge, nodes, processes
    from protipp.stack.ports import free_port

    call_command("collectstatic", interactive=False, verbosity=0)
    folder = Path(tempfile.mkdtemp(prefix="protipp-bench-edge-"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "CDN_PROVIDER": "varnish", "CDN_VARNISH_URLS": url}
    ours, raw = (nodes.spec("web", name, environment) for name in ("web-8", "web-9"))
    argv = tuple(RAW_WSGI if word == "protipp.wsgi:application" else word for word in raw.argv)
    raw = replace(raw, argv=argv)
    servers = [processes.start(spec, folder / f"{spec.name}.log") for spec in (ours, raw)]
    (folder / "backend.vcl").write_text(edge.backend_vcl(_port(nodes.address(ours))))
    with (folder / "varnish.log").open("wb") as log:
        varnish = subprocess.Popen(edge.varnish_command(folder, port), stdout=log, stderr=log)
    try:
        while nodes.answers("127.0.0.1", port, "/edge-health")() is not None:
            time.sleep(0.05)
        _cpu(report, varnish.pid, port, servers[1].pid, _port(nodes.address(raw)))
        _purges(report, folder / "tagged")
        _cold(report, port)
    finally:
        varnish.terminate()
        varnish.wait(10)
        for server in servers:
            processes.end(server, ours.stop_signal, within_s=5)
        shutil.rmtree(folder, ignore_errors=True)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _cpu(report: Report, varnish_pid: int, port: int, raw_pid: int, raw_port: int) -> None:
    """One connection and no waiting: CPU of the server's processes over the count of answers."""
    path = _asset()
    _ask(port, path, 50)
    edge_us = _cpu_us(varnish_pid, lambda: _ask(port, path, HITS), HITS)
    django_us = _cpu_us(raw_pid, lambda: _ask(raw_port, f"/static/{ASSET}", RAW), RAW)
    report.say(f"- a hit at the edge ({ASSET} as brotli): {edge_us:.0f} us of CPU")
    report.say(
        f"- the same file raw from Django's own view: {django_us:.0f} us, "
        f"{django_us / edge_us:.0f}x (wanted: 20x)"
    )


def _cpu_us(pid: int, act: object, count: int) -> float:
    """The best of three rounds, in microseconds an answer."""
    rounds = []
    for _ in range(3):
        before = _used_s(pid)
        act()  # type: ignore[operator]
        rounds.append((_used_s(pid) - before) / count * 1e6)
    return min(rounds)


def _used_s(pid: int) -> float:
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _asset() -> str:
    """The address of a script of 280 KB, as our pages name it."""
    from performance.cdn.storage import HashedStorage

    return HashedStorage().url(ASSET)


def _ask(port: int, path: str, count: int) -> None:
    """Ask `count` times, all connections before any is read: so no server waits for us."""
    clients = [
        http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(min(count, AT_ONCE))
    ]
    for _ in range(max(1, count // AT_ONCE)):
        for client in clients:
            client.request("GET", path, headers=BROWSER)
        for client in clients:
            answer = client.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}")
    for client in clients:
        client.close()


class _Tagged(http.server.BaseHTTPRequestHandler):
    """Answers `/7` with the tags event:7 and sport:7, as an odds page has them."""

    def do_GET(self) -> None:
        number = self.path.strip("/")
        self.send_response(200)
        self.send_header("Cache-Control", "public, max-age=600, stale-while-revalidate=600")
        self.send_header("Surrogate-Key", f"site event:{number} sport:{number[-1:]}")
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b"x" * 10_000)

    def log_message(self, *args: object) -> None:
        pass


def _purges(report: Report, folder: Path) -> None:
    """Purges of one tag each, all of them of answers that are kept; as a client on loopback sees
    them. The median of three rounds, so that what else the machine does is not told as ours."""
    from protipp.stack import edge, nodes
    from protipp.stack.ports import free_port

    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tagged)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    folder.mkdir()
    port = free_port()
    (folder / "backend.vcl").write_text(edge.backend_vcl(origin.server_port))
    with (folder / "log").open("wb") as log:
        varnish = subprocess.Popen(edge.varnish_command(folder, port), stdout=log, stderr=log)
    try:
        while nodes.answers("127.0.0.1", port, "/edge-ready")() is not None:
            time.sleep(0.05)
        rounds = [_purge_ms(port) for _ in range(3)]
    finally:
        varnish.terminate()
        varnish.wait(10)
        origin.shutdown()
        origin.server_close()
    p50_ms = statistics.median(statistics.median(times_ms) for times_ms in rounds)
    p99_ms = statistics.median(statistics.quantiles(times_ms, n=100)[98] for times_ms in rounds)
    report.say(
        f"- a purge by tag with {OBJECTS} answers kept: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms "
        "(wanted: below 5 ms)"
    )


def _purge_ms(port: int) -> list[float]:
    for number in range(OBJECTS):
        _ask(port, f"/{number}", 1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    times_ms = []
    for number in range(OBJECTS):
        started = time.perf_counter()
        connection.request("PURGE", "/", headers={"xkey-purge": f"event:{number}"})
        answer = connection.getresponse()
        said = answer.reason, answer.read()
        times_ms.append((time.perf_counter() - started) * 1000)
        if answer.reason != "Removed 1":
            raise SystemExit(f"A purge was answered {answer.status} {said}")
    connection.close()
    return times_ms


def _cold(report: Report, port: int) -> None:
    """Clients that come at once for an answer that the edge has not; how often is it fetched."""
    path = f"{_asset()}?cold=1"

    def client(_: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path, headers=BROWSER)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        last = (answer.headers["Cache-Status"] or "").rpartition(",")[2]
        return "fwd=" in last

    with ThreadPoolExecutor(COLD_CLIENTS) as pool:
        fetched = sum(pool.map(client, range(COLD_CLIENTS)))
    report.say(f"- {COLD_CLIENTS} cold clients of one answer: the origin was asked {fetched} times")
