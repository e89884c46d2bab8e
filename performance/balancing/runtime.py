"""HAProxy's Runtime API over its Unix sockets: what servers are doing, and changes without reload.

Each command is one connection, bounded in time, so a proxy that hangs costs a second and no more.
"""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from performance.balancing.errors import ProxyRefused, ProxyUnreachable

TIMEOUT_S = 1.0
RELOAD_TIMEOUT_S = 10.0
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of one backend, as the running proxy sees it now."""

    backend: str
    name: str
    status: str
    """`UP`, `DOWN`, `MAINT`, `DRAIN` or `no check`, without the proxy's counts behind it."""
    address: str
    weight: int
    slots: int
    sessions: int
    """Requests (or sockets) that it works on now."""
    queued: int
    answers: int
    errors: int
    latency_ms: float | None
    """Mean time of its last 1,024 answers; None before the first."""
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One backend's own row: what waits for any of its servers."""

    name: str
    queued: int
    sessions: int
    rate_per_s: int
    """Sessions that began within the last second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the proxy says of itself at one moment."""

    digest: str
    servers: tuple[Server, ...]
    backends: dict[str, Backend]

    def of(self, backend: str) -> dict[str, Server]:
        return {server.name: server for server in self.servers if server.backend == backend}


class Runtime:
    """The admin socket of one HAProxy process. Raises ProxyUnreachable or ProxyRefused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def view(self) -> View:
        """Return all servers and the loaded file's digest; two commands, about 1 ms."""
        info = self.ask("show info")
        digest = ""
        for line in info.splitlines():
            if line.startswith("description: protipp-"):
                digest = line.partition("protipp-")[2].strip()
        rows = list(csv.DictReader(io.StringIO(self.ask("show stat").removeprefix("# "))))
        servers = tuple(
            _server(row) for row in rows if row["svname"] not in {"FRONTEND", "BACKEND"}
        )
        backends = {
            row["pxname"]: Backend(
                name=row["pxname"],
                queued=_number(row["qcur"]),
                sessions=_number(row["scur"]),
                rate_per_s=_number(row["rate"]),
            )
            for row in rows
            if row["svname"] == "BACKEND"
        }
        return View(digest=digest, servers=servers, backends=backends)

    def add(self, backend: str, name: str, words: str, *, checked: bool) -> None:
        """Add a server and let it in; it gets traffic after its first good check."""
        self.change(f"add server {backend}/{name} {words}", done=("New server registered",))
        if checked:
            self.change(f"enable health {backend}/{name}")
        self.change(f"enable server {backend}/{name}")

    def set_weight(self, backend: str, name: str, weight: int) -> None:
        """Zero drains: the server ends what it has and gets nothing new."""
        self.change(f"set server {backend}/{name} weight {weight}")

    def set_slots(self, backend: str, name: str, slots: int) -> None:
        self.change(f"set maxconn server {backend}/{name} {slots}")

    def move(self, backend: str, name: str, host: str, port: int) -> None:
        """Point a server at another address; it keeps its name and its counters."""
        self.change(
            f"set server {backend}/{name} addr {host} port {port}",
            done=("IP changed", "port changed", "no need to change"),
        )

    def remove(self, backend: str, name: str, *, kill: bool) -> bool:
        """Take a server out of the list; False when it still has sessions (ask again later).

        `kill` ends the sessions of a server that is known to be dead.
        """
        self.change(f"disable server {backend}/{name}")
        if kill:
            self.change(f"shutdown sessions server {backend}/{name}")
        said = self.ask(f"del server {backend}/{name}")
        if "Server deleted" in said:
            return True
        if "active connection" in said or "still has" in said or "idle" in said:
            return False
        raise ProxyRefused(f"del server {backend}/{name}", said)

    def change(self, command: str, done: tuple[str, ...] = ()) -> None:
        """Send a command that answers nothing, or something that starts like one of `done`."""
        said = self.ask(command).strip()
        if said and not any(word in said for word in done):
            raise ProxyRefused(command, said)

    def ask(self, command: str, timeout_s: float = TIMEOUT_S) -> str:
        """Send one command and return the answer."""
        if "\n" in command or ";" in command:
            raise ProxyRefused(command, "a command is one line without ';'")
        with self._connection(timeout_s) as connection:
            connection.sendall(command.encode() + b"\n")
            return _read_all(connection).decode(errors="replace")

    @contextmanager
    def _connection(self, timeout_s: float) -> Iterator[socket.socket]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(self.path))
                yield connection
        except OSError as error:  # TimeoutError is one too
            raise ProxyUnreachable(str(self.path), str(error) or type(error).__name__) from error


class Master(Runtime):
    """The master's socket: reloads the file without losing a connection."""

    def reload(self) -> None:
        """Load haproxy.cfg anew; raises ProxyRefused when the new process did not start."""
        said = self.ask("reload", RELOAD_TIMEOUT_S)
        if "Success=1" not in said:
            raise ProxyRefused("reload", said)


def _read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := connection.recv(65_536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            raise OSError(f"the answer is larger than {LARGEST_ANSWER_BYTES} bytes")
    return b"".join(parts)


def _number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else 0


def _server(row: dict[str, str]) -> Server:
    answers = _number(row["stot"])
    return Server(
        backend=row["pxname"],
        name=row["svname"],
        status=row["status"].split(" (")[0].partition(" ")[0]
        if row["status"] != "no check"
        else "no check",
        address=row["addr"],
        weight=_number(row["uweight"]),  # as it was set; `weight` is what a slow start makes of it
        slots=_number(row["slim"]),
        sessions=_number(row["scur"]),
        queued=_number(row["qcur"]),
        answers=answers,
        errors=_number(row["econ"]) + _number(row["eresp"]),
        latency_ms=float(_number(row["rtime"])) if answers else None,
        check=row["check_status"].lstrip("* "),
    )
