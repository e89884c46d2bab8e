import http.server
import threading

import pytest


class Edge(http.server.BaseHTTPRequestHandler):
    """A recorder in an edge's place: keeps what it was told, answers what it is set to."""

    def do_PURGE(self):
        self.server.told.append((self.path, dict(self.headers)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PURGE

    def log_message(self, *args):
        pass


@pytest.fixture
def edge(settings):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge)
    server.told, server.status = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    settings.PERFORMANCE = {
        "CDN": {
            "provider": "varnish",
            "varnish_urls": (address,),
            "base_url": address,
            "timeout_s": 1,
            "probe_timeout_s": 1,
            "max_attempts": 2,
        }
    }
    yield server
    server.shutdown()
    server.server_close()
