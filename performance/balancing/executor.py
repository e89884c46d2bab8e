"""Who starts and stops nodes: here the local supervisor, by one JSON line over its socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from performance.balancing.errors import SupervisorFailed

TIMEOUT_S = 5.0


class Executor(Protocol):
    """Starts and stops nodes by name. All may be asked twice; all raise SupervisorFailed."""

    name: str
    leaves_within_s: float
    """How long a stopped node may go on announcing itself, and is not believed."""
    at_once: int
    """How many nodes of a kind may boot at the same time."""
    keeps_spares: bool
    """Whether nodes can be started ahead, to wait until they are wanted."""

    def start(self, kind: str, node_id: str, *, spare: bool = False) -> None: ...

    def stop(self, kind: str, node_id: str) -> None: ...

    def in_rotation(self, there: Collection[str], up: Collection[str]) -> None:
        """Hear which nodes there are, and which of them the proxy sends requests to."""


class LocalExecutor:
    """Asks `manage.py up` over its Unix socket; each request is bounded to 5 s."""

    name = "local"
    leaves_within_s = 15.0
    at_once = 1  # on one machine those that boot together share its cores, and the first comes late
    keeps_spares = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, kind: str, node_id: str, *, spare: bool = False) -> None:
        self._ask("start", kind, node_id, spare=spare)

    def stop(self, kind: str, node_id: str) -> None:
        self._ask("stop", kind, node_id)

    def in_rotation(self, there: Collection[str], up: Collection[str]) -> None:
        """Nothing: the supervisor looks at its processes itself."""

    def _ask(self, op: str, kind: str, node_id: str, **more: bool) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(str(self._path))
                line = json.dumps({"op": op, "kind": kind, "id": node_id, **more}) + "\n"
                connection.sendall(line.encode())
                with connection.makefile("rb") as answers:
                    said = answers.readline(65_536)
        except OSError as error:
            raise SupervisorFailed(op, node_id, str(error) or type(error).__name__) from error
        try:
            answer = json.loads(said)
        except ValueError:
            raise SupervisorFailed(op, node_id, f"it answered {said[:80]!r}") from None
        if not isinstance(answer, dict) or not answer.get("ok"):
            error_text = answer.get("error") if isinstance(answer, dict) else answer
            raise SupervisorFailed(op, node_id, str(error_text or answer))
