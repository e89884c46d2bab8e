"""A page's assets in a real browser, cold and warm, over 20 Mbit/s and 40 ms.

One side is the raw origin: Django's own static view over the sources, as a project has it that
does nothing. The other is ours: built, through HAProxy and Varnish where that is installed. The
page is the same list of assets, so that only they are compared.
"""

from __future__ import annotations

import base64
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

ROUNDS = 5
MBIT = 20
LATENCY_MS = 40
PAGES = {"the board": "odds/board.html", "the monitor page": "performance/monitor.html"}


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


def run(report: Report) -> None:
    from django.core.management import call_command

    chromium = shutil.which("chromium")
    if chromium is None:
        report.say("- not measured: chromium is not installed (apt install chromium)")
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    folder = Path(tempfile.mkdtemp(prefix="protipp-bench-load-"))
    origin = _raw_origin()
    try:
        with _Edge(folder) as address:
            sides = {
                "raw": (f"http://127.0.0.1:{origin.server_port}", _raw_urls),
                "ours": (address, _our_urls),
            }
            from playwright.sync_api import sync_playwright

            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                for name, template in PAGES.items():
                    _compare(report, browser, name, template, sides)
                browser.close()
    finally:
        origin.shutdown()
        origin.server_close()
        shutil.rmtree(folder, ignore_errors=True)
    report.say("- wanted: at least 70 % less time and bytes; warm: no request")


def _compare(report: Report, browser: Any, name: str, template: str, sides: Any) -> None:
    """Load it cold, alternating; the numbers are medians."""
    from performance.cdn.weighing import entries

    seen: dict[str, list[tuple[float, int, int]]] = {side: [] for side in sides}
    warm = 0
    for _ in range(ROUNDS):
        for side, (address, urls) in sides.items():
            body = _page(urls(entries(template)), preloaded=side == "ours")
            cold, again = _load(browser, address, body)
            seen[side].append(cold)
            if side == "ours":
                warm = max(warm, again)
    raw, ours = (
        [statistics.median(column) for column in zip(*seen[side], strict=True)] for side in sides
    )
    report.say(
        f"- {name}: raw {raw[0]:.0f} ms, {raw[1] / 1024:.0f} KB in {raw[2]:.0f} requests; ours "
        f"{ours[0]:.0f} ms, {ours[1] / 1024:.0f} KB in {ours[2]:.0f} "
        f"({1 - ours[0] / raw[0]:.0%} less time, {1 - ours[1] / raw[1]:.0%} less bytes); "
        f"warm {warm} requests"
    )


def _raw_urls(names: list[str]) -> list[str]:
    return ["/static/" + name for name in names]


def _our_urls(names: list[str]) -> list[str]:
    """As our templates give them: with hashes, and modules preloaded with what they load."""
    from performance.cdn.services import modules_of
    from performance.cdn.storage import HashedStorage

    storage = HashedStorage()
    scripts = [one for name in names for one in modules_of(name)]
    wanted = [*(name for name in names if name.endswith(".css")), *scripts]
    return [storage.url(name) for name in dict.fromkeys(wanted)]


def _page(urls: list[str], *, preloaded: bool) -> str:
    lines = []
    for url in urls:
        if url.endswith(".css"):
            lines.append(f'<link rel="stylesheet" href="{url}">')
        else:
            if preloaded:
                lines.append(f'<link rel="modulepreload" href="{url}">')
            lines.append(f'<script type="module" src="{url}"></script>')
    icon = '<link rel="icon" href="data:,">'
    return f"<!doctype html><title>bench</title>{icon}" + "".join(lines)


def _load(browser: Any, address: str, body: str) -> tuple[tuple[float, int, int], int]:
    """Return ms to `load`, bytes and requests of a cold load; and how many requests a warm one."""
    context = browser.new_context()
    page = context.new_page()
    link = context.new_cdp_session(page)
    link.send("Network.enable")
    bytes_per_s = MBIT * 1_000_000 / 8
    limits = {"downloadThroughput": bytes_per_s, "uploadThroughput": bytes_per_s}
    link.send(
        "Network.emulateNetworkConditions", {"offline": False, "latency": LATENCY_MS, **limits}
    )
    counted = {"bytes": 0, "requests": 0}
    link.on("Network.loadingFinished", lambda event: _count(counted, event))
    _answer_for(link, f"{address}/bench", body)
    page.goto(f"{address}/bench", wait_until="load")
    took_ms = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    cold = (float(took_ms), counted["bytes"], counted["requests"])
    page.goto("about:blank")
    page.goto(f"{address}/bench", wait_until="load")
    warm = page.evaluate(
        "performance.getEntriesByType('resource').filter(one => one.transferSize > 0).length"
    )
    context.close()
    return cold, int(warm)


def _answer_for(link: Any, url: str, body: str) -> None:
    """Give the page itself from here; by the browser's own means, as Playwright's routes would
    turn its cache off."""
    answer = {
        "responseCode": 200,
        "responseHeaders": [{"name": "Content-Type", "value": "text/html"}],
        "body": base64.b64encode(body.encode()).decode(),
    }
    link.on(
        "Fetch.requestPaused",
        lambda event: link.send(
            "Fetch.fulfillRequest", {"requestId": event["requestId"], **answer}
        ),
    )
    link.send("Fetch.enable", {"patterns": [{"urlPattern": url}]})


def _count(counted: dict[str, int], event: dict[str, Any]) -> None:
    counted["bytes"] += int(event["encodedDataLength"])
    counted["requests"] += 1


def _raw_origin() -> _Threads:
    """Django's view of static files over the sources: whole, unhashed, unencoded."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    server = _Threads(("127.0.0.1", 0), _Quiet)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Edge:
    """A web node, HAProxy before it, and Varnish between where that is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[tuple[subprocess.Popen[bytes], int]] = []

    def __enter__(self) -> str:
        from performance.balancing.services import planned_node, proxy_command, render_proxy
        from protipp.stack import edge, nodes, processes
        from protipp.stack.ports import free_port

        port, origin_port, varnish_port = free_port(), free_port(), free_port()
        spec = nodes.spec("web", "web-9", dict(os.environ))
        self.running.append((processes.start(spec, self.folder / "web.log"), spec.stop_signal))
        has_edge = shutil.which("varnishd") is not None
        more: dict[str, Any] = {}
        if has_edge:
            place = self.folder / "varnish"
            place.mkdir()
            (place / "backend.vcl").write_text(edge.backend_vcl(origin_port))
            self._start(edge.varnish_command(place, varnish_port))
            self._await(varnish_port, "/edge-health")
            more = {"edge": f"127.0.0.1:{varnish_port}", "origin_port": origin_port}
        here = self.folder / "haproxy"
        render_proxy(
            [planned_node("web-9", "web", nodes.address(spec))], port=port, directory=here, **more
        )
        self._start(proxy_command(here))
        self._await(port, "/healthz")
        return f"http://127.0.0.1:{port}"

    def _start(self, argv: Any) -> None:
        with (self.folder / "servers.log").open("ab") as log:
            self.running.append((subprocess.Popen(argv, stdout=log, stderr=log), 15))

    @staticmethod
    def _await(port: int, path: str) -> None:
        from protipp.stack import nodes

        while nodes.answers("127.0.0.1", port, path)() is not None:
            time.sleep(0.1)

    def __exit__(self, *error: object) -> None:
        for process, number in reversed(self.running):
            process.send_signal(number)
            process.wait(10)
