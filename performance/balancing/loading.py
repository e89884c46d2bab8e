"""Keep-alive users in one process, each asking when it is due and not when it can.

Latency counts from when a request was due (an open loop): a server that stalls is charged for all
who were due meanwhile, which generators that wait for an answer before they ask again leave out.

Each user asks every `every_s` seconds, at a phase of its own. One who still waits for an answer
when the next is due asks late, and the wait counts. One thread asks and reads by turns, without
callbacks between: half of what an event loop with a protocol object for each user took, so that
the crowd leaves the processor to those whom it asks.
"""

from __future__ import annotations

import array
import errno
import os
import random
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TICK_S = 0.001
CONNECT_AT_ONCE = 200
CONNECT_WITHIN_S = 60.0
"""Everybody is connected and was answered once by then, or nobody begins."""
LATE_S = 10.0
"""After the end, answers are awaited for this long; what is missing then is an error."""
_READ_BYTES = 262_144
_LENGTH = b"content-length: "
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who asks for what, how often and how long."""

    host: str
    port: int
    users: int
    every_s: float
    seconds: float
    paths: Mapping[str, float]
    """Path with query -> its share of all requests."""
    seed: int = 0
    eager: bool = False
    """Everybody asks again once answered, and `every_s` counts for nothing: a closed loop, which
    measures how much is answered but says nothing of how long others would have waited."""


@dataclass(slots=True, eq=False)
class User:
    """One connection. Knows when its requests were due, and reads one answer at a time."""

    socket: socket.socket
    connected: bool = False
    greeted: bool = False
    """Answered once, which is not counted: a kept connection begins with an answer."""
    due: list[float] = field(default_factory=list)
    sent: bool = False
    left: int = 0
    """Bytes of the body that are still to come; 0 while a head is read."""
    chunked: bool = False
    kept: bytes = b""
    """Of a head, or of a body in chunks, what came before."""
    status: bytes = b""


class Crowd:
    """All users of this process, their timetable and what they saw."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.users: list[User] = []
        self.latencies = array.array("f")
        self.errors: dict[str, int] = {}
        self.eager = False
        resolved = socket.getaddrinfo(order.host, order.port, type=socket.SOCK_STREAM)[0]
        self._family: int = resolved[0]
        self._address: Any = resolved[4]
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(_READ_BYTES)
        rng = random.Random(order.seed)
        paths = rng.choices(list(order.paths), list(order.paths.values()), k=4_096)
        head = f"Host: {order.host}:{order.port}\r\nAccept-Encoding: br, gzip\r\n"
        self._requests = [f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() for path in paths]
        self._next = 0

    def connect(self) -> None:
        """Connect everybody and have them answered once; OSError when that fails."""
        deadline_s = time.monotonic() + CONNECT_WITHIN_S
        greeted = 0
        coming: list[User] = []
        while greeted < self.order.users:
            while len(coming) < CONNECT_AT_ONCE and len(self.users) < self.order.users:
                user = User(self._open())
                self._selector.register(user.socket, selectors.EVENT_WRITE, user)
                self.users.append(user)
                coming.append(user)
                user.due.append(time.monotonic())
            self._turn(0.05)
            left = [user for user in coming if not user.greeted]
            greeted += len(coming) - len(left)
            coming = left
            if time.monotonic() > deadline_s:
                raise TimeoutError(
                    f"{greeted} of {self.order.users} users were answered in {CONNECT_WITHIN_S} s"
                )

    def live(self, begin_s: float) -> int:
        """Let everybody ask until the time is over; return how many requests were due."""
        asked = self._eagerly(begin_s) if self.order.eager else self._by_timetable(begin_s)
        late_s = time.monotonic() + LATE_S
        while time.monotonic() < late_s and any(user.due for user in self.users):
            self._turn(0.05)
        return asked

    def end(self) -> None:
        """Leave at once; what was due and is not answered is an error."""
        if missing := sum(len(user.due) for user in self.users):
            self.errors["no answer"] = missing
        self._selector.close()
        for user in self.users:
            user.socket.close()

    def _by_timetable(self, begin_s: float) -> int:
        users = self.users
        step_s = self.order.every_s / len(users)
        index, due_s, asked = 0, begin_s, 0
        end_s = begin_s + self.order.seconds
        while due_s < end_s:
            now = time.monotonic()
            while due_s <= now and due_s < end_s:
                user = users[index]
                user.due.append(due_s)
                if not user.sent:
                    self._ask(user)
                asked += 1
                index = (index + 1) % len(users)
                due_s += step_s
            self._turn(max(0.0, min(TICK_S, due_s - now)))
        return asked

    def _eagerly(self, begin_s: float) -> int:
        self.eager = True
        for user in self.users:
            user.due.append(time.monotonic())
            self._ask(user)
        while time.monotonic() < begin_s + self.order.seconds:
            self._turn(0.05)
        self.eager = False
        return len(self.latencies)

    def _turn(self, wait_s: float) -> None:
        """Read what has come, waiting for it at most so long."""
        for key, _ in self._selector.select(wait_s):
            user: User = key.data
            if user.connected:
                self._read(user)
            else:
                self._connected(user)

    # --- a user's connection --------------------------------------------------------------

    def _open(self) -> socket.socket:
        opened = socket.socket(self._family, socket.SOCK_STREAM)
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        refused = opened.connect_ex(self._address)
        if refused not in (0, errno.EINPROGRESS):
            opened.close()
            raise OSError(refused, os.strerror(refused))
        return opened

    def _connected(self, user: User) -> None:
        if user.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost(user, "connect")
            return
        user.connected = True
        self._selector.modify(user.socket, selectors.EVENT_READ, user)
        self._ask(user)

    def _ask(self, user: User) -> None:
        if not user.connected:
            if user.socket.fileno() < 0:
                self._come_back(user)
            return
        self._next = (self._next + 1) % len(self._requests)
        user.sent = True
        try:
            user.socket.send(self._requests[self._next])  # a new or empty connection takes it whole
        except OSError:
            self._lost(user, "lost")

    def _lost(self, user: User, name: str) -> None:
        """Count what was due as failed; the user comes back when the next is due.

        ConnectionError for one who was never answered: then nobody begins.
        """
        if not user.greeted:
            raise ConnectionError(f"user {self.users.index(user) + 1} was not answered ({name})")
        self.errors[name] = self.errors.get(name, 0) + max(1, len(user.due))
        self._selector.unregister(user.socket)
        user.socket.close()
        user.due.clear()
        user.connected = user.sent = user.chunked = False
        user.left, user.kept = 0, b""

    def _come_back(self, user: User) -> None:
        try:
            user.socket = self._open()
        except OSError:
            self.errors["connect"] = self.errors.get("connect", 0) + len(user.due)
            user.due.clear()
        else:
            self._selector.register(user.socket, selectors.EVENT_WRITE, user)

    def _read(self, user: User) -> None:
        try:
            size = user.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size == 0:
            self._lost(user, "lost")
        elif user.left:
            user.left -= size
            if user.left <= 0:
                self._answered(user)
        elif user.kept or user.chunked:
            data = user.kept + self._buffer[:size]
            self._parse(user, data, len(data))
        else:
            self._parse(user, self._buffer, size)

    def _parse(self, user: User, data: bytes | bytearray, size: int) -> None:
        """Read a head, or look for a chunked body's end; `data` may hold more than `size`."""
        begins = 0
        if not user.chunked:
            end = data.find(b"\r\n\r\n", 0, size)
            if end < 0:
                user.kept = bytes(data[:size])
                return
            user.status, begins = bytes(data[9:12]), end + 4
            head = bytes(data[:end]).lower()
            at = head.find(_LENGTH)
            if at >= 0:
                user.kept = b""
                user.left = int(head[at + len(_LENGTH) :].split(b"\r", 1)[0]) - (size - begins)
                if user.left <= 0:
                    self._answered(user)
                return
            user.chunked = b"chunked" in head
        user.kept = bytes(data[max(begins, size - len(_LAST_CHUNK)) : size])
        if not user.chunked or user.kept == _LAST_CHUNK:
            self._answered(user)

    def _answered(self, user: User) -> None:
        now = time.monotonic()
        due_s = user.due.pop(0)
        if user.greeted:
            self.latencies.append(now - due_s)
            if user.status != b"200":
                name = user.status.decode(errors="replace")
                self.errors[name] = self.errors.get(name, 0) + 1
        user.greeted = True
        user.left, user.kept, user.chunked, user.sent = 0, b"", False, False
        if self.eager:
            user.due.append(now)
        if user.due:
            self._ask(user)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one crowd met."""

    asked: int
    latencies: array.array[float]
    """Seconds from due to answered, of every answer."""
    errors: dict[str, int]
    """By status or kind: `503`, `lost`, `connect`, `no answer`."""


def crowd(order: Order, go: Callable[[], object] | None = None) -> Seen:
    """Connect everybody, wait for `go`, let them live, and return what they saw.

    Raises OSError when they cannot connect.
    """
    found = Crowd(order)
    try:
        found.connect()
        if go is not None:
            go()
        asked = found.live(time.monotonic() + 0.1)
    finally:
        found.end()
    return Seen(asked=asked, latencies=found.latencies, errors=found.errors)
