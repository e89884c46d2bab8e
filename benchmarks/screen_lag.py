"""From an event to the screen: how long until a request stands in the page of a real browser.

Run: python -m benchmarks screen_lag (about a minute and a half; needs chromium). A whole stack of
its own runs; each event is a request to an address that the page has not shown, timed from its
answer to the moment when the page's text has it. Budget: 1.5 s at the 95th percentile.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Protocol

EVENTS = 30
"""Within the minute that the page counts: nothing of them leaves the count meanwhile."""
STARTS_WITHIN_S = 180
SERVERS = ("DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "PROTIPP_PROCESS")
PASSWORD = re.compile(r"staff login .*password\s+(\S+)\n")
COUNTED = "[data-bind=minute_requests]"


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        report.say("- not measured: chromium is not installed")
        return
    local = Path(tempfile.mkdtemp(prefix="protipp-screen-"))
    local.chmod(0o711)  # as root, PostgreSQL's account must pass through
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if name not in SERVERS}
    output = local / "output"
    with output.open("wb") as written:
        stack = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--source", "none"],
            env={**clean, "PROTIPP_LOCAL_DIR": str(local), "PORT": str(port)},
            stdout=written, stderr=written,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (password := PASSWORD.search(output.read_text(errors="replace"))):
            if stack.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not start: {output.read_text()[-500:]}")
            time.sleep(0.2)
        _measure(report, chromium, f"http://127.0.0.1:{port}", password[1])
    finally:
        stack.send_signal(signal.SIGTERM)
        stack.wait(30)
        shutil.rmtree(local, ignore_errors=True)


def _measure(report: Report, chromium: str, site: str, password: str) -> None:
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{site}/admin/login/?next=/admin/performance/monitor/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", password)
        page.click("input[type=submit]")
        page.wait_for_selector("#status[data-state=live]")
        lags = []
        for number in range(EVENTS):
            time.sleep(0.4 + number * 0.137 % 0.5)  # at another part of the second each time
            before = int(page.inner_text(COUNTED).split()[0].replace(",", ""))
            urllib.request.urlopen(f"{site}/api/v1/arbitrage?min_roi={number}", timeout=10).read()
            asked = time.perf_counter()
            page.wait_for_function(
                "([place, known]) => parseInt(document.querySelector(place).textContent"
                ".replace(',', '')) > known",
                arg=[COUNTED, before], polling=20, timeout=10_000,
            )  # fmt: skip
            lags.append(time.perf_counter() - asked)
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    lags.sort()
    p95 = lags[int(len(lags) * 0.95) - 1]
    report.say(
        f"- from an event to the screen: median {statistics.median(lags):.2f} s, 95th percentile "
        f"{p95:.2f} s, slowest {lags[-1]:.2f} s of {EVENTS} (budget 1.5 s)"
    )
