"""`/ws/odds/`: one visitor's socket. Public, bounded, numbered; the hub does the rest."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from odds.live_hub import Hub, Topic, hub
from odds.live_messages import Change, Key
from performance.core import signals

PENDING_LIMIT = 500
"""Prices that wait for one slow socket; beyond, it is told to look anew."""
RESYNCS_LIMIT = 3
"""A socket that fell behind so often without catching up is closed."""
SOCKETS_AN_ADDRESS = 50
STUCK_S = 60.0
"""A frame that was not taken in this time ends the socket: the tab is frozen or the line cut."""
MESSAGE_BYTES = 1_024
MESSAGES_LIMIT = 60
"""Browsers have nothing to say here; a flood is closed."""

CLOSE_TOO_SLOW = 1013
CLOSE_TOO_BIG = 1009
CLOSE_POLICY = 1008
CLOSE_MOVE = 1012
CLOSE_UNKNOWN = 4400
CLOSE_TOO_MANY = 4429

_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_addresses: Counter[str] = Counter()


class OddsConsumer(AsyncWebsocketConsumer):
    """Watches one topic: `?sport=<key>`, `?event=<id>` or `?arbitrage=1`.

    Frames are JSON: `n` counts them from 0 on each connection, `id` is the last batch they hold,
    `at` the server's time. Types: `hello` and `resync` (with `from` and `prices`: all that changed
    since), `prices`, `refresh` (read the page again), `paused` (the bus is away), `beat`.
    """

    topic: Topic = ("", "")

    async def connect(self) -> None:
        self._hub: Hub = hub()
        self._number = 0
        self._pending: dict[Key, Change] = {}
        self._control: list[bytes] = []
        self._frame: bytes | None = None
        self._behind = 0
        self._heard = 0
        self._sender: asyncio.Task[None] | None = None
        self._sending_s = 0.0
        self._address = ""
        problem = self._read_query()
        if problem:
            return await self._refuse(CLOSE_UNKNOWN, problem)
        if self._hub.draining:
            return await self._refuse(CLOSE_MOVE, "this node is being drained; connect again")
        address = _address(self.scope)
        if _addresses[address] >= SOCKETS_AN_ADDRESS:
            reason = f"{SOCKETS_AN_ADDRESS} sockets are open from your address"
            return await self._refuse(CLOSE_TOO_MANY, reason)
        self._address = address
        _addresses[address] += 1
        self._hub.join(self)  # before accepting, or it would miss what is told in between
        await self.accept()
        self.tell(self._hub.greeting(self.topic, "hello"))

    def _read_query(self) -> str:
        """Set the topic; return what is wrong with the query, or nothing."""
        query = self.scope.get("query_string", b"").decode("utf-8", "replace")
        pairs = parse_qsl(query, keep_blank_values=True)
        if len(pairs) != 1 or pairs[0][0] not in ("sport", "event", "arbitrage"):
            return "ask for one of: sport=<key>, event=<id>, arbitrage=1"
        name, value = pairs[0]
        if name == "arbitrage" and value != "1":
            return "arbitrage must be 1"
        if not _KEY.fullmatch(value):
            return f"{name} must be a key as the API gives it"
        self.topic = (name, value)
        return ""

    async def _refuse(self, code: int, reason: str) -> None:
        await self.accept()  # a socket closed before it is accepted shows the browser only 1006
        await self.close(code, reason)

    async def disconnect(self, code: int) -> None:
        self._hub.part(self)
        if self._address:
            _addresses[self._address] -= 1
            if _addresses[self._address] <= 0:
                del _addresses[self._address]
            self._address = ""
        if self._sender is not None:
            self._sender.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self._heard += 1
        if len(text_data or bytes_data or "") > MESSAGE_BYTES:
            self.leave(CLOSE_TOO_BIG, f"at most {MESSAGE_BYTES} bytes")
        elif self._heard > MESSAGES_LIMIT:
            self.leave(CLOSE_POLICY, "this socket only speaks")

    # --- from the hub: never waits ---------------------------------------------------------------

    def offer(self, changes: dict[Key, Change], tail: bytes) -> None:
        """Send the frame that all share; while the socket is busy, keep each price's newest."""
        if self._sender is None:
            self._frame = tail
            self._start()
            return
        self._pending.update(changes)
        if len(self._pending) > PENDING_LIMIT:
            self._fall_behind()
        elif time.monotonic() - self._sending_s > STUCK_S:
            self.leave(CLOSE_TOO_SLOW, "nothing was taken for too long; connect again")

    def _fall_behind(self) -> None:
        """Too much waits: forget it all and say so; a page reads anew what it missed."""
        self._pending.clear()
        self._behind += 1
        signals.recorder.count("socket", "resync")
        if self._behind >= RESYNCS_LIMIT:
            self.leave(CLOSE_TOO_SLOW, "too slow for these prices; connect again later")
            return
        self._control = [b"resync"]

    def tell(self, tail: bytes) -> None:
        """Send a frame of the hub's own; of those that wait, few, only the newest matter."""
        if len(self._control) >= 8:
            self._fall_behind()
            return
        self._control.append(tail)
        self._start()

    def leave(self, code: int, reason: str) -> None:
        """Close without waiting for what a slow socket has not taken."""
        self._hub.part(self)
        if self._sender is not None:
            self._sender.cancel()
        self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        signals.recorder.count("socket", f"close_{code}")
        with contextlib.suppress(TimeoutError, StopConsumer):
            await asyncio.wait_for(self.close(code, reason), timeout=2.0)

    def _start(self) -> None:
        if self._sender is None:
            self._sending_s = time.monotonic()
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        """Send until nothing waits. Sending waits while the socket's buffer is full."""
        try:
            while self._control or self._frame or self._pending:
                if self._control:
                    tail = self._control.pop(0)
                    if tail == b"resync":
                        tail = self._hub.greeting(self.topic, "resync")
                elif self._frame is not None:
                    tail, self._frame = self._frame, None
                else:
                    prices, self._pending = list(self._pending.values()), {}
                    tail = b'"type":"prices",' + self._hub.tail({"prices": prices})
                number, self._number = self._number, self._number + 1
                await self.send(text_data=(b'{"n":%d,' % number + tail).decode())
                self._sending_s = time.monotonic()
            self._behind = 0
        except (OSError, RuntimeError):  # gone while we spoke: uvicorn's two ways to say so
            self._hub.part(self)
        finally:
            self._sender = None


def _address(scope: dict[str, Any]) -> str:
    """Return who is there: what the proxy says (it overwrites what clients send), else the peer."""
    for name, value in scope.get("headers", ()):
        if name == b"x-forwarded-for":
            return str(value, "latin1").rsplit(",", 1)[-1].strip()
    client = scope.get("client")
    return str(client[0]) if client else ""
