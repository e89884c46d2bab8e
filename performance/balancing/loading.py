"""Keep-alive users in one process, each asking when it is due and not when it can.

Latency counts from when a request was due (an open loop): a server that stalls is charged for all
who were due meanwhile, which generators that wait for an answer before they ask again leave out.
The clock is the machine's: uvloop's own stands still for a turn and knows whole milliseconds only.

Each user asks every `every_s` seconds, at a phase of its own. One who still waits for an answer
when the next is due asks late, and the wait counts. About 25 us a request under uvloop.
"""

from __future__ import annotations

import array
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

TICK_S = 0.001
CONNECT_AT_ONCE = 200
LATE_S = 10.0
"""After the end, answers are awaited for this long; what is missing then is an error."""


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


class User(asyncio.Protocol):
    """One connection. Knows when its requests were due, and reads one answer at a time."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.transport: asyncio.Transport | None = None
        self.due: list[float] = []
        self.greeted = asyncio.Event()
        """Set by the first answer, which is not counted: a kept connection begins with one."""
        self.sent = False
        self._buffer = b""
        self._left = -1  # bytes of the body still to come; -1 while reading a head
        self._chunked = False
        self._status = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if not self.crowd.ending:
            self.crowd.errors["lost"] = self.crowd.errors.get("lost", 0) + 1 + len(self.due)
            self.due.clear()
            self.crowd.reconnect(self)

    def ask(self, due_s: float) -> None:
        self.due.append(due_s)
        if not self.sent:
            self._send()

    def _send(self) -> None:
        if self.transport is not None and self.due:
            self.sent = True
            self.transport.write(self.crowd.request())

    def data_received(self, data: bytes) -> None:
        if self._left >= 0 and not self._chunked:
            self._left -= len(data)
            if self._left <= 0:
                self._answered()
            return
        self._buffer += data
        if self._left < 0:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._begin_body(head, rest)
        elif self._buffer.endswith(b"0\r\n\r\n"):
            self._answered()

    def _begin_body(self, head: bytes, rest: bytes) -> None:
        self._status = head[9:12]
        lower = head.lower()
        at = lower.find(b"content-length: ")
        if at >= 0:
            self._left = int(lower[at + 16 :].split(b"\r", 1)[0]) - len(rest)
            self._buffer = b""
            if self._left <= 0:
                self._answered()
            return
        self._chunked, self._left, self._buffer = b"chunked" in lower, 0, rest
        if not self._chunked or rest.endswith(b"0\r\n\r\n"):
            self._answered()

    def _answered(self) -> None:
        now = time.monotonic()
        latency_s = now - self.due.pop(0)
        if self.greeted.is_set():
            self.crowd.note(latency_s, self._status)
        self.greeted.set()
        self._buffer, self._left, self._chunked, self.sent = b"", -1, False, False
        if self.crowd.eager:
            self.due.append(now)
        self._send()


class Crowd:
    """All users of this process, their timetable and what they saw."""

    def __init__(self, order: Order) -> None:
        self.loop = asyncio.get_running_loop()
        self.order = order
        self.users: list[User] = []
        self.latencies = array.array("f")
        self.errors: dict[str, int] = {}
        self.ending = False
        self.eager = False
        rng = random.Random(order.seed)
        weighted = [(path, weight) for path, weight in order.paths.items()]
        paths = rng.choices(
            [path for path, _ in weighted], [weight for _, weight in weighted], k=4_096
        )
        head = f"Host: {order.host}:{order.port}\r\nAccept-Encoding: br, gzip\r\n"
        self._requests = [f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() for path in paths]
        self._next = 0

    def request(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def note(self, latency_s: float, status: bytes) -> None:
        self.latencies.append(latency_s)
        if status != b"200":
            name = status.decode(errors="replace")
            self.errors[name] = self.errors.get(name, 0) + 1

    async def connect(self) -> None:
        slots = asyncio.Semaphore(CONNECT_AT_ONCE)

        async def one() -> None:
            async with slots:
                user = await self._open(User(self))
                user.ask(time.monotonic())
                await user.greeted.wait()
                self.users.append(user)

        await asyncio.gather(*(one() for _ in range(self.order.users)))

    async def _open(self, user: User) -> User:
        await self.loop.create_connection(lambda: user, self.order.host, self.order.port)
        return user

    def reconnect(self, user: User) -> None:
        async def again() -> None:
            try:
                user.sent = False
                await self._open(user)
            except OSError:
                self.errors["connect"] = self.errors.get("connect", 0) + 1

        self._again = self.loop.create_task(again())

    def end(self) -> None:
        """Leave at once; what was due and is not answered is an error."""
        self.ending = True
        if missing := sum(len(user.due) for user in self.users):
            self.errors["no answer"] = missing
        for user in self.users:
            if user.transport is not None:
                user.transport.abort()

    async def live(self, begin_s: float) -> int:
        """Let everybody ask until the time is over; return how many requests were due."""
        if self.order.eager:
            return await self._live_eagerly(begin_s)
        every_s, users = self.order.every_s, self.users
        step_s = every_s / len(users)
        index, due_s, asked = 0, begin_s, 0
        end_s = begin_s + self.order.seconds
        while due_s < end_s:
            now = time.monotonic()
            while due_s <= now and due_s < end_s:
                users[index].ask(due_s)
                asked += 1
                index = (index + 1) % len(users)
                due_s += step_s
            await asyncio.sleep(max(0.0, min(TICK_S, due_s - now)))
        await self._wait_for_the_late()
        return asked

    async def _live_eagerly(self, begin_s: float) -> int:
        self.eager = True
        for user in self.users:
            user.ask(time.monotonic())
        await asyncio.sleep(max(0.0, begin_s + self.order.seconds - time.monotonic()))
        self.eager = False
        await self._wait_for_the_late()
        return len(self.latencies)

    async def _wait_for_the_late(self) -> None:
        late_s = time.monotonic() + LATE_S
        while time.monotonic() < late_s and any(user.due for user in self.users):
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one crowd met."""

    asked: int
    latencies: array.array[float]
    """Seconds from due to answered, of every answer."""
    errors: dict[str, int]
    """By status or kind: `503`, `lost`, `connect`, `no answer`."""


async def crowd(order: Order, go: Callable[[], Awaitable[object]] | None = None) -> Seen:
    """Connect everybody, wait for `go`, let them live, and return what they saw.

    Raises OSError when they cannot connect.
    """
    found = Crowd(order)
    try:
        await found.connect()
        if go is not None:
            await go()
        asked = await found.live(time.monotonic() + 0.1)
    finally:
        found.end()
    return Seen(asked=asked, latencies=found.latencies, errors=found.errors)
