"""A real Varnish with our VCL over an origin of the test's own."""

import contextlib
import http.client
import http.server
import subprocess
import threading
import time

import psutil

from protipp.stack import edge
from protipp.stack.ports import free_port

PUBLIC = {
    "Cache-Control": "public, max-age=1",
    "CDN-Cache-Control": "public, max-age=60, stale-while-revalidate=60, stale-if-error=600",
    "Surrogate-Key": "page",
}


class Origin(http.server.ThreadingHTTPServer):
    """Counts what it is asked; answers `answers[path]` (status, headers) with a counting body."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked, self.answers, self.delay_s, self.lock = [], {}, 0.0, threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def count(self, path):
        return sum(asked == path for asked in self.asked)

    def end(self):
        """Stop listening; twice is once."""
        if not self._thread.is_alive():
            return
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request, client_address):
        pass  # clients that are killed leave in the middle of an answer


class _Handler(http.server.BaseHTTPRequestHandler):
    # HTTP/1.0, so that no connection outlives an origin that has ended.

    def do_GET(self):
        server = self.server
        if self.path != "/healthz":
            with server.lock:
                server.asked.append(self.path)
        status, headers = server.answers.get(self.path.partition("?")[0], (200, PUBLIC))
        time.sleep(server.delay_s if self.path != "/healthz" else 0)
        body = f"{self.path} {server.count(self.path)}".encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Varnish:
    """`varnishd` as the stack starts it; `kill` is SIGKILL for it and its child."""

    def __init__(self, folder, origin_port):
        self.folder, self.port = folder, free_port()
        (folder / "backend.vcl").write_text(edge.backend_vcl(origin_port))
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                edge.varnish_command(self.folder, self.port), stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self.well():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "Varnish did not start"
            time.sleep(0.05)

    def well(self):
        with contextlib.suppress(OSError):
            return self.get("/edge-health")[0] == 200
        return False

    def kill(self):
        found = psutil.Process(self.process.pid).children()
        self.process.kill()
        self.process.wait()
        for child in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(found, timeout=5)

    def get(self, path, method="GET", **headers):
        return get(self.port, path, method, **headers)


def get(port, path, method="GET", **headers):
    """Return status, headers and text of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()
