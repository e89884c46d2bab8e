"""The nodes behind the proxy: granian for HTTP, uvicorn for sockets. Both on loopback only."""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from protipp import env
from protipp.stack import priority
from protipp.stack.errors import StackError
from protipp.stack.ports import free_port
from protipp.stack.processes import Spec

KINDS = ("web", "live")
THREADS = 4
READY_WITHIN_S = 60.0
PROBE_WITHIN_S = 1.0
PROGRAMS = Path(sys.executable).parent
"""Where the venv keeps granian, uvicorn and celery."""


def spec(kind: str, node_id: str, environment: Mapping[str, str], *, spare: bool = False) -> Spec:
    """Return a node that listens on a free port of 127.0.0.1.

    A `spare` says so in the registry, and boots behind all others.
    """
    if kind not in KINDS:
        raise StackError(f"A node's kind is {kind!r}; it must be one of: {', '.join(KINDS)}.")
    if not re.fullmatch(rf"{kind}-[0-9]{{1,3}}", node_id):
        raise StackError(f"A {kind} node's id is {node_id!r}; it must look like {kind}-3.")
    port = free_port()
    own = {
        "PROTIPP_PROCESS": kind,
        "PROTIPP_NODE_ID": node_id,
        "PROTIPP_NODE_ADDRESS": f"127.0.0.1:{port}",
        "DATABASE_POOL_SIZE": str(THREADS),
        **({"PROTIPP_SPARE": "1"} if spare else {}),
    }
    return Spec(
        name=node_id,
        argv=_web(port) if kind == "web" else _live(port),
        environment={**environment, **own},
        cwd=env.BASE_DIR,
        waiting_for=answers("127.0.0.1", port),
        ready_within_s=READY_WITHIN_S,
        # A frame for thousands of sockets is a burst of 70 ms, and pages can be drawn after it.
        nice=priority.NODES if kind == "web" else 0,
        behind=spare,
    )


def address(node: Spec) -> str:
    return node.environment["PROTIPP_NODE_ADDRESS"]


def _web(port: int) -> tuple[str, ...]:
    return (
        str(PROGRAMS / "granian"),
        "protipp.wsgi:application",
        *("--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--blocking-threads", str(THREADS), "--no-ws"),
        # Its defaults drop connections from some hundreds of keep-alive users on.
        *("--backlog", "16384", "--backpressure", "9000"),
        *("--http1-header-read-timeout", "5000"),
        *("--workers-kill-timeout", "2", "--log-level", "warning"),
    )


def _live(port: int) -> tuple[str, ...]:
    return (
        str(PROGRAMS / "uvicorn"),
        "protipp.asgi:application",
        *("--host", "127.0.0.1", "--port", str(port), "--backlog", "16384"),
        *("--loop", "uvloop", "--ws", "odds.live_line:LineProtocol"),
        *("--ws-per-message-deflate", "false"),
        *("--ws-max-size", "65536", "--timeout-keep-alive", "75"),
        *("--timeout-graceful-shutdown", "2", "--lifespan", "off"),
        *("--no-access-log", "--no-server-header", "--log-level", "warning"),
    )


def answers(host: str, port: int, path: str = "/healthz") -> Callable[[], str | None]:
    """Return a probe of one HTTP server: any answer will do but a 5xx."""

    def waiting_for() -> str | None:
        connection = http.client.HTTPConnection(host, port, timeout=PROBE_WITHIN_S)
        try:
            connection.request("GET", path, headers={"Host": f"{host}:{port}"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return f"{path} answers {status}" if status >= 500 else None

    return waiting_for
