import http.server
import json
import threading

import pytest


class Edge(http.server.BaseHTTPRequestHandler):
    """A recorder in an edge's place: keeps what it was told, answers what it is set to."""

    def do_PURGE(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.told.append((self.path, dict(self.headers)))
        self.server.waits(self.path)
        is_json = "json" in self.headers.get("Content-Type", "")
        self.server.bodies.append(json.loads(body) if is_json else body or None)
        answer = self.server.body.encode()
        self.send_response(self.server.statuses.get(self.command, self.server.status))
        for name, value in self.server.says.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_PURGE

    def log_message(self, *args):
        pass


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # who gave up on an answer is not there to read it


@pytest.fixture
def recorder():
    """Any HTTP service: `status` (by method: `statuses`), `body` and `says` (headers) are its
    answer, `waits(path)` what it does before it."""
    server = Recorder(("127.0.0.1", 0), Edge)
    server.told, server.bodies, server.status, server.statuses = [], [], 200, {}
    server.waits = lambda path: None
    server.body, server.says = "", {}
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def edge(recorder, settings):
    """A Varnish that only records."""
    settings.PERFORMANCE = {
        "CDN": {
            "provider": "varnish",
            "varnish_urls": (recorder.address,),
            "base_url": recorder.address,
            "timeout_s": 5,
            "probe_timeout_s": 5,
            "max_attempts": 2,
            "healthy_after": 3,
        }
    }
    return recorder
