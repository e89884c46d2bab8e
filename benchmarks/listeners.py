"""Half of the live sockets, in a process of its own: `python -m benchmarks.listeners`.

One JSON object comes in by standard input, another line says "go", and one JSON object goes out.
Sockets come from many addresses of loopback, as the site allows each address only some. When each
price of the benchmark's own topic came is written to a file: the broadcast's number and the time
on the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import array
import asyncio
import base64
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

CONNECT_AT_ONCE = 50
TRIES = 20
AN_ADDRESS = 50
"""Sockets from one address; the site closes the 51st."""
PRICE = re.compile(rb'"p":(\d+)')
PONG = bytes([0x8A, 0x80, 0, 0, 0, 0])
"""An empty one, masked with zeros: any pong keeps the line."""


class Listener(asyncio.Protocol):
    """One WebSocket that reads frames and answers pings."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.opened: asyncio.Future[None] = audience.loop.create_future()
        self.transport: Any = None
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.audience.request)

    def connection_lost(self, error: Exception | None) -> None:
        if self.opened.done():
            self.audience.lost += not self.audience.ending
        else:
            self.opened.set_exception(ConnectionError(f"refused: {self._buffer[:80]!r}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head[:20]:
                self.transport.abort()
                return
            self._upgraded, self._buffer = True, rest
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def _frame(self) -> tuple[int, bytes] | None:
        """Cut the next frame off the buffer; the server masks none."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1], 2
        if size == 126:
            size, at = int.from_bytes(buffer[2:4]), 4
        elif size == 127:
            size, at = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < at + size:
            return None
        self._buffer = buffer[at + size :]
        return buffer[0] & 0x0F, buffer[at : at + size]

    def _take(self, kind: int, body: bytes) -> None:
        if kind == 9:
            self.transport.write(PONG)
        elif kind == 8:
            self.transport.close()
        elif b'"type":"hello"' in body and not self.opened.done():
            self.opened.set_result(None)
        elif b'"type":"prices"' in body and (found := PRICE.search(body)):
            self.audience.numbers.append(int(found[1]))
            self.audience.times.append(time.monotonic())


class Audience:
    def __init__(self, order: dict[str, Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.order = order
        self.numbers, self.times = array.array("q"), array.array("d")
        self.listeners: list[Listener] = []
        self.lost = 0
        """Closed after they were open."""
        self.refused = 0
        self.ending = False
        site = f"{order['host']}:{order['port']}"
        key = base64.b64encode(os.urandom(16)).decode()
        self.request = (
            f"GET {order['path']} HTTP/1.1\r\nHost: {site}\r\nOrigin: http://{site}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()

    async def gather(self) -> None:
        slots = asyncio.Semaphore(CONNECT_AT_ONCE)

        async def one(number: int) -> None:
            place = self.order["first"] + number // AN_ADDRESS
            address = f"127.1.{place // 250}.{place % 250 + 1}"
            async with slots:
                for _ in range(TRIES):
                    try:
                        self.listeners.append(await self._open(address))
                        return
                    except OSError:  # refused while the site is busy: our pages try again too
                        self.refused += 1
                        await asyncio.sleep(0.5)
            raise ConnectionError(f"A socket was refused {TRIES} times.")

        await asyncio.gather(*(one(number) for number in range(self.order["sockets"])))

    async def _open(self, address: str) -> Listener:
        _, listener = await self.loop.create_connection(
            lambda: Listener(self), self.order["host"], self.order["port"],
            local_addr=(address, 0),
        )  # fmt: skip
        await listener.opened
        return listener

    def end(self) -> None:
        self.ending = True
        for listener in self.listeners:
            listener.transport.abort()


async def main(order: dict[str, Any]) -> dict[str, Any]:
    audience = Audience(order)
    await audience.gather()
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)  # until the broadcasts are over
    audience.end()
    with Path(order["file"]).open("wb") as out:
        audience.numbers.tofile(out)
        audience.times.tofile(out)
    return {"seen": len(audience.numbers), "lost": audience.lost, "refused": audience.refused}


if __name__ == "__main__":
    found = uvloop.run(main(msgspec.json.decode(sys.stdin.readline())))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
