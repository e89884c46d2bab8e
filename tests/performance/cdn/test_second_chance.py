"""A browser with a page from before the edge failed: it gets its files from the origin."""

import http.server
import threading
import time
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

SCRIPT = Path("static/performance/js/second-chance.js").resolve().read_text()
PAGE = """<!doctype html><title>page</title>
<script src="/second-chance.js" data-edge="{edge}"></script>
<link rel="stylesheet" href="{edge}/look.css">
<body><picture><source srcset="{edge}/p.avif"><img id="p" src="{edge}/p.svg"></picture>
<script src="{edge}/classic.js"></script>
<script type="module" src="{edge}/app.js"></script></body>"""
ALL_THERE = """
document.body.dataset.app && document.body.dataset.part && document.body.dataset.classic
&& document.querySelector("#p").naturalWidth === 7
&& getComputedStyle(document.body).color === "rgb(1, 2, 3)"
"""
FILES = {
    "/second-chance.js": ("text/javascript", SCRIPT),
    "/look.css": ("text/css", "body { color: rgb(1, 2, 3) }"),
    "/p.svg": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='7' height='7'/>"),
    "/classic.js": ("text/javascript", "document.body.dataset.classic = 1;"),
    "/app.js": ("text/javascript", 'import "./part.js"; document.body.dataset.app = 1;'),
    "/part.js": ("text/javascript", "document.body.dataset.part = 1;"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        kind, body = self.server.files.get(self.path, (None, ""))
        self.send_response(200 if kind else 502)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self' {self.server.edge}; "
            f"style-src 'self' {self.server.edge}; img-src 'self' {self.server.edge}",
        )
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def sites():
    """The origin, and an edge that answers everything with 502."""
    found = []
    for _ in range(2):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.asked, server.files, server.edge = [], {}, ""
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        found.append(server)
    origin, edge = found
    origin.edge = f"http://127.0.0.1:{edge.server_port}"
    origin.files = FILES | {"/": ("text/html", PAGE.format(edge=origin.edge))}
    yield origin, edge
    for server in found:
        server.shutdown()
        server.server_close()


@pytest.mark.browser
def test_what_the_edge_did_not_give_comes_from_the_origin_once(sites, chromium):
    origin, edge = sites
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        refused = []
        page.on("console", lambda line: refused.append(line.text))
        page.goto(f"http://127.0.0.1:{origin.server_port}/")
        deadline = time.monotonic() + 30
        while not page.evaluate(ALL_THERE):  # Playwright's own waiting breaks the page's policy
            assert time.monotonic() < deadline, origin.asked
            time.sleep(0.05)
        browser.close()

    assert not [line for line in refused if "Content Security Policy" in line]
    for name in ("/look.css", "/classic.js", "/app.js", "/p.svg"):
        assert origin.asked.count(name) == 1
    assert len(edge.asked) == len(set(edge.asked))
