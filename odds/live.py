"""`/ws/odds/`: one visitor's socket. Public, bounded, numbered; the hub does the rest.

An ASGI application of its own rather than a Channels consumer: that keeps a queue in the layer and
two more tasks for each socket, and nobody sends anything to one of these.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from odds.live_hub import Hub, Topic, hub
from odds.live_line import Line, line_of, text_frame
from odds.live_messages import Change, Key
from performance.core import signals

PENDING_LIMIT = 500
"""Prices that wait for one slow socket; beyond, it is told to look anew."""
CONTROL_LIMIT = 8
RESYNCS_LIMIT = 3
"""A socket that fell behind so often without catching up is closed."""
SOCKETS_AN_ADDRESS = 50
STUCK_S = 60.0
"""A socket that took nothing in this time is ended: the tab is frozen or the line cut."""
CLOSE_WITHIN_S = 2.0
"""Then the line is cut without a word: it takes none."""
MESSAGE_BYTES = 1_024
MESSAGES_LIMIT = 60
"""Browsers have nothing to say here; a flood is closed."""

CLOSE_TOO_SLOW = 1013
CLOSE_TOO_BIG = 1009
CLOSE_POLICY = 1008
CLOSE_MOVE = 1012
CLOSE_UNKNOWN = 4400
CLOSE_TOO_MANY = 4429

RESYNC = b"resync"
"""Stands for a greeting that is made once it can be sent."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_addresses: Counter[str] = Counter()

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def odds_socket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve `?sport=<key>`, `?event=<id>` or `?arbitrage=1` until either side has enough.

    Raises ImproperlyConfigured on a server that gives no line to write frames through.
    """
    line = line_of(scope)
    await receive()  # "websocket.connect"
    await send({"type": "websocket.accept"})  # refused before, a browser would see only 1006
    topic, problem = _topic_of(scope)
    address = _address(scope)
    refusal = _refusal(problem, address)
    if refusal is not None:
        code, reason = refusal
        await send({"type": "websocket.close", "code": code, "reason": reason})
        return
    _addresses[address] += 1
    socket = OddsSocket(hub(), topic, line, send)
    try:
        socket.open()
        while (message := await receive())["type"] == "websocket.receive":
            socket.hear(message)
    finally:
        socket.end()
        _addresses[address] -= 1
        if not _addresses[address]:
            del _addresses[address]


def _topic_of(scope: dict[str, Any]) -> tuple[Topic, str]:
    """Return the topic, and what is wrong with the query, or nothing."""
    query = scope.get("query_string", b"").decode("utf-8", "replace")
    pairs = parse_qsl(query, keep_blank_values=True)
    if len(pairs) != 1 or pairs[0][0] not in ("sport", "event", "arbitrage"):
        return ("", ""), "ask for one of: sport=<key>, event=<id>, arbitrage=1"
    name, value = pairs[0]
    if name == "arbitrage" and value != "1":
        return ("", ""), "arbitrage must be 1"
    if not _KEY.fullmatch(value):
        return ("", ""), f"{name} must be a key as the API gives it"
    return (name, value), ""


def _refusal(problem: str, address: str) -> tuple[int, str] | None:
    """Return the code and the reason with which a new socket is closed; None lets it in."""
    if problem:
        return CLOSE_UNKNOWN, problem
    if hub().draining:
        return CLOSE_MOVE, "this node is being drained; connect again"
    if _addresses[address] >= SOCKETS_AN_ADDRESS:
        return CLOSE_TOO_MANY, f"{SOCKETS_AN_ADDRESS} sockets are open from your address"
    return None


def _address(scope: dict[str, Any]) -> str:
    """Return who is there: what the proxy says (it overwrites what clients send), else the peer."""
    for name, value in scope.get("headers", ()):
        if name == b"x-forwarded-for":
            return str(value, "latin1").rsplit(",", 1)[-1].strip()
    client = scope.get("client")
    return str(client[0]) if client else ""


class OddsSocket:
    """One topic's frames to one browser; the hub calls, and is never kept waiting.

    Frames are JSON: `n` counts them from 0 on each connection, `id` is the last batch they hold,
    `at` the server's time. Types: `hello` and `resync` (with `from` and `prices`: all that changed
    since), `prices`, `refresh` (read the page again), `paused` (the bus is away), `beat`.
    """

    __slots__ = (
        "_behind", "_closing", "_control", "_heard", "_hub", "_line", "_number", "_pending",
        "_send", "_taken_s", "topic",
    )  # fmt: skip

    def __init__(self, hub: Hub, topic: Topic, line: Line, send: Send) -> None:
        self.topic = topic
        self._hub = hub
        self._line = line
        self._send = send
        self._number = 0
        self._pending: dict[Key, Change] = {}
        self._control: list[bytes] = []
        self._behind = 0
        self._heard = 0
        self._taken_s = time.monotonic()
        self._closing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Join and greet in one step of the loop, so that nothing is told in between."""
        self._line.when_writable(self._catch_up)
        self._hub.join(self)
        self.tell(self._hub.greeting(self.topic, "hello"))

    def end(self) -> None:
        self._hub.part(self)

    def hear(self, message: dict[str, Any]) -> None:
        self._heard += 1
        if len(message.get("text") or message.get("bytes") or "") > MESSAGE_BYTES:
            self.leave(CLOSE_TOO_BIG, f"at most {MESSAGE_BYTES} bytes")
        elif self._heard > MESSAGES_LIMIT:
            self.leave(CLOSE_POLICY, "this socket only speaks")

    # --- from the hub: never waits ---------------------------------------------------------------

    def offer(self, changes: dict[Key, Change], tail: bytes) -> None:
        """Send the frame that all share; while the line is full, keep each price's newest."""
        if self._closing is not None or self._write(tail):
            return
        self._pending.update(changes)
        if len(self._pending) > PENDING_LIMIT:
            self._fall_behind()
        elif time.monotonic() - self._taken_s > STUCK_S:
            self.leave(CLOSE_TOO_SLOW, "nothing was taken for too long; connect again")

    def tell(self, tail: bytes) -> None:
        """Send a frame of the hub's own; of those that wait, few, only the newest matter."""
        if self._closing is not None or self._write(tail):
            return
        if len(self._control) < CONTROL_LIMIT:
            self._control.append(tail)
        else:
            self._fall_behind()

    def leave(self, code: int, reason: str) -> None:
        """Close without waiting for what a slow socket has not taken."""
        self._hub.part(self)
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    def _write(self, tail: bytes) -> bool:
        """Send now, unless the line is full or something waits that must go before."""
        if self._control or self._pending:
            return False
        return self._write_next(tail)

    def _write_next(self, tail: bytes) -> bool:
        if not self._line.write(text_frame(self._number, tail)):
            return False
        self._number += 1
        self._taken_s = time.monotonic()
        return True

    def _fall_behind(self) -> None:
        """Too much waits: forget it all and say so; a page reads anew what it missed."""
        self._pending.clear()
        self._control = [RESYNC]
        self._behind += 1
        signals.recorder.count("socket", "resync")
        if self._behind >= RESYNCS_LIMIT:
            self.leave(CLOSE_TOO_SLOW, "too slow for these prices; connect again later")

    def _catch_up(self) -> None:
        """The line takes frames again: send what waits, as far as it goes."""
        while self._closing is None:
            if self._control:
                tail = self._control[0]
                if tail is RESYNC:
                    tail = self._hub.greeting(self.topic, "resync")
                if not self._write_next(tail):
                    return
                del self._control[0]
            elif self._pending:
                prices = list(self._pending.values())
                if not self._write_next(b'"type":"prices",' + self._hub.tail({"prices": prices})):
                    return
                self._pending.clear()
            else:
                self._behind = 0
                return

    async def _close(self, code: int, reason: str) -> None:
        signals.recorder.count("socket", f"close_{code}")
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._line.abort()
        except (OSError, RuntimeError):  # gone meanwhile: uvicorn's two ways to say so
            self._hub.part(self)
