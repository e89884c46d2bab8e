"""A node for the tests, served by granian: says who it is and what it was told."""

import json
import os
import threading
import time

NODE = os.environ.get("PROTIPP_NODE_ID", "?")
_asked = {"count": 0}
_gates = {}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/healthz":
        return _answer(start_response, b"ok")
    _asked["count"] += 1
    turn = str(_asked["count"])
    if path.startswith(("/slow", "/lasting", "/brief")):
        time.sleep(float(environ["QUERY_STRING"] or 0.2))
    if path == "/held":  # until somebody asks this node for /release with the same query
        _gate(environ).wait(60)
    if path == "/release":
        _gate(environ).set()
    if path == "/die" and environ["QUERY_STRING"] in {"", NODE}:
        os._exit(1)
    if path.startswith("/staff"):
        return _answer(start_response, b"", [("X-Privileged", "staff"), ("X-Node", NODE)])
    if path.startswith("/public"):
        return _answer(start_response, _count(), [("Cache-Control", "public, max-age=30")])
    if path.startswith("/lasting"):
        lasting = "public, max-age=1, stale-while-revalidate=10, stale-if-error=50"
        return _answer(start_response, _count(), [("Cache-Control", lasting)])
    if path.startswith("/brief"):
        return _answer(start_response, _count(), [("Cache-Control", "public, max-age=1")])
    if path.startswith("/private"):
        return _answer(start_response, _count(), [("Cache-Control", "private, max-age=30")])
    if path.startswith("/cookie"):
        headers = [("Cache-Control", "public, max-age=30"), ("Set-Cookie", "a=b")]
        return _answer(start_response, _count(), headers)
    if path.startswith("/etag-only"):
        return _answer(start_response, _count(), [("ETag", '"x"')])
    if path.startswith("/conditional"):
        headers = [("Cache-Control", "public, max-age=30"), ("ETag", '"x"')]
        if environ.get("HTTP_IF_NONE_MATCH") == '"x"':
            start_response("304 Not Modified", headers)
            return [b""]
        return _answer(start_response, _count(), headers)
    if path.startswith("/static/"):
        headers = [("Cache-Control", "public, max-age=31536000, immutable")]
        return _answer(start_response, _count(), headers)
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = json.dumps({"node": NODE, "told": told, "method": environ["REQUEST_METHOD"]}).encode()
    return _answer(start_response, body, [("X-Node", NODE), ("X-Turn", turn)])


def _gate(environ):
    return _gates.setdefault(environ["QUERY_STRING"], threading.Event())


def _count():
    return f"{NODE} {_asked['count']}".encode()


def _answer(start_response, body, headers=()):
    size = ("Content-Length", str(len(body)))
    start_response("200 OK", [("Content-Type", "text/plain"), size, *headers])
    return [body]
