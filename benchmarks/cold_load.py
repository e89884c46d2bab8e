"""A page's assets in a real browser, cold and warm, over 20 Mbit/s and 40 ms.

One side is the raw origin: Django's own static view over the sources, as a project has it that
does nothing, in the same server as ours. The other is ours: built, through HAProxy and Varnish
where that is installed. Each page names what the real one names, and comes from here: so only its
assets are compared. The raw one links each style itself, as a page without a build does.

Two times are told: the assets' own, from the start of the first to the end of the last, and the
browser's `load`, which has its own work in it, the same on both sides.
"""

from __future__ import annotations

import base64
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

ROUNDS = 5
MBIT = 20
LATENCY_MS = 40
RAW_WSGI = "benchmarks.raw_wsgi:application"
TIMES = """() => {
  const assets = performance.getEntriesByType("resource").filter(({ name }) => /static/.test(name));
  const first = Math.min(...assets.map((one) => one.startTime));
  const last = Math.max(...assets.map((one) => one.responseEnd));
  return [last - first, performance.getEntriesByType("navigation")[0].loadEventEnd];
}"""
PAGES = {"the board": "odds/board.html", "the monitor page": "performance/monitor.html"}


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from django.core.management import call_command

    chromium = shutil.which("chromium")
    if chromium is None:
        report.say("- not measured: chromium is not installed (apt install chromium)")
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    folder = Path(tempfile.mkdtemp(prefix="protipp-bench-load-"))
    try:
        with _Sites(folder) as (raw, ours):
            sides = {"raw": (raw, _raw_urls), "ours": (ours, _our_urls)}
            from playwright.sync_api import sync_playwright

            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                for name, template in PAGES.items():
                    _compare(report, browser, name, template, sides)
                browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.say("- wanted: at least 70 % less time and bytes; warm: no request")


def _compare(report: Report, browser: Any, name: str, template: str, sides: Any) -> None:
    """Load it cold, alternating; the numbers are medians."""
    from performance.cdn.weighing import entries

    seen: dict[str, list[tuple[float, ...]]] = {side: [] for side in sides}
    warm = 0
    for round_ in range(ROUNDS + 1):
        for side, (address, urls) in sides.items():
            body = _page(urls(entries(template)), preloaded=side == "ours")
            cold, again = _load(browser, address, body)
            if round_ == 0:
                continue  # the edge fetches, and the browser starts its processes
            seen[side].append(cold)
            if side == "ours":
                warm = max(warm, again)
    raw, ours = (
        [statistics.median(column) for column in zip(*seen[side], strict=True)] for side in sides
    )
    less = [1 - mine / theirs for mine, theirs in zip(ours, raw, strict=True)]
    report.say(
        f"- {name}: raw {raw[0]:.0f} ms ({raw[1]:.0f} ms to load), {raw[2] / 1024:.0f} KB in "
        f"{raw[3]:.0f} requests; ours {ours[0]:.0f} ms ({ours[1]:.0f} ms to load), "
        f"{ours[2] / 1024:.0f} KB in {ours[3]:.0f}: {less[0]:.0%} less time ({less[1]:.0%} to "
        f"load), {less[2]:.0%} less bytes; warm {warm} requests"
    )


def _raw_urls(names: list[str]) -> list[str]:
    """The sources; a style that only joins others is those others."""
    from django.conf import settings

    from performance.cdn import references, weighing

    named = references.of_all(weighing.collected(), settings.STATIC_URL)
    each = [
        one
        for name in names
        for one in (references.needed(name, named)[1:] if name.endswith(".css") else [name])
        or [name]
    ]
    return ["/static/" + name for name in dict.fromkeys(each)]


def _our_urls(names: list[str]) -> list[str]:
    """As our templates give them: with hashes, and modules preloaded with what they load."""
    from performance.cdn.services import modules_of
    from performance.cdn.storage import HashedStorage

    storage = HashedStorage()
    scripts = [one for name in names if name.endswith(".js") for one in modules_of(name)]
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


def _load(browser: Any, address: str, body: str) -> tuple[tuple[float, ...], int]:
    """Return the assets' ms, ms to `load`, bytes and requests of a cold load; and how many
    requests a warm one makes."""
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
    assets_ms, load_ms = page.evaluate(TIMES)
    cold = (float(assets_ms), float(load_ms), counted["bytes"], counted["requests"])
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


class _Sites:
    """The raw origin; and a web node, HAProxy before it, and Varnish between if it is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[tuple[subprocess.Popen[bytes], int]] = []

    def __enter__(self) -> tuple[str, str]:
        from performance.balancing.services import planned_node, proxy_command, render_proxy
        from protipp.stack import edge, nodes, processes
        from protipp.stack.ports import free_port

        port, origin_port, varnish_port = free_port(), free_port(), free_port()
        spec, raw = (nodes.spec("web", name, dict(os.environ)) for name in ("web-9", "web-8"))
        argv = tuple(RAW_WSGI if word == "protipp.wsgi:application" else word for word in raw.argv)
        for one in (spec, replace(raw, argv=argv)):
            started = processes.start(one, self.folder / f"{one.name}.log")
            self.running.append((started, one.stop_signal))
        more: dict[str, Any] = {}
        if shutil.which("varnishd") is not None:
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
        raw_address = nodes.address(raw)
        self._await(int(raw_address.rpartition(":")[2]), "/healthz")
        return f"http://{raw_address}", f"http://127.0.0.1:{port}"

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
