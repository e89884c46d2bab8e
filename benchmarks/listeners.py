"""Half of the live sockets, in a process of its own: `python -m benchmarks.listeners`.

One JSON object comes in by standard input, another line says "go", and one JSON object goes out.
Sockets come from many addresses of loopback, as the site allows each address only some. When each
price of the benchmark's own topic came is written to a file: the broadcast's number and the time
on the machine's monotonic clock, which all processes share.

The listeners share the cores with what they measure, so all that is done when a frame comes is one
read of a bare socket and one look at its header and the clock; what it says is read at the end. And
they look each 2 ms instead of being woken for each frame: a time is at most so much too late.
"""

from __future__ import annotations

import array
import base64
import os
import re
import select
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

CONNECT_AT_ONCE = 50
CONNECT_WITHIN_S = 20.0
TRIES = 20
AN_ADDRESS = 50
"""Sockets from one address; the site closes the 51st."""
PRICES = b'"type":"prices"'
PRICE = re.compile(rb'"p":(\d+)')
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
READ_BYTES = 65_536
LOOK_EVERY_S = 0.002


def frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole frames in what a server sent, with their headers, and what is left."""
    found = []
    while len(data) >= 2:
        end = 2 + data[1]
        if data[1] == 126:
            end = 4 + int.from_bytes(data[2:4], "big")
        elif data[1] == 127:
            end = 10 + int.from_bytes(data[2:10], "big")
        if len(data) < end:
            break
        found.append(data[:end])
        data = data[end:]
    return found, data


class Audience:
    """All sockets of this process: threads open them, and one loop hears them all meanwhile."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.heard: list[tuple[float, bytes]] = []
        """When each frame came, and the frame."""
        self.lost = 0
        """Closed after they were open."""
        self.refused = 0
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        """Beginnings of frames whose ends have not come."""
        site = f"{order['host']}:{order['port']}"
        key = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {order['path']} HTTP/1.1\r\nHost: {site}\r\nOrigin: http://{site}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()

    def gather(self) -> None:
        with ThreadPoolExecutor(CONNECT_AT_ONCE) as pool:
            for _ in pool.map(self._open, range(self.order["sockets"])):
                pass

    def _open(self, number: int) -> None:
        place = self.order["first"] + number // AN_ADDRESS
        address = f"127.1.{place // 250}.{place % 250 + 1}"
        for _ in range(TRIES):
            try:
                opened, rest = self._connect(address)
            except OSError:  # refused while the site is busy: our pages try again too
                self.refused += 1
                time.sleep(0.5)
                continue
            self._sockets[opened.fileno()] = opened
            self._rest[opened.fileno()] = rest
            self._poll.register(opened.fileno(), select.EPOLLIN)
            return
        raise ConnectionError(f"A socket was refused {TRIES} times.")

    def _connect(self, address: str) -> tuple[socket.socket, bytes]:
        """Return a socket that has been greeted, and what came after the greeting."""
        to = (self.order["host"], self.order["port"])
        opened = socket.create_connection(to, CONNECT_WITHIN_S, (address, 0))
        try:
            opened.sendall(self._request)
            came = b""
            while b'"type":"hello"' not in came:
                more = opened.recv(READ_BYTES)
                came += more
                if not more or b" 101 " not in came[:20]:
                    raise ConnectionError(f"refused: {came[:80]!r}")
        except BaseException:
            opened.close()
            raise
        opened.setblocking(False)
        return opened, frames(came.partition(b"\r\n\r\n")[2])[1]

    def hear_all(self, end_fd: int) -> None:
        """Hear every socket until something can be read from `end_fd`."""
        self._poll.register(end_fd, select.EPOLLIN)
        poll, read, now, heard = self._poll.poll, os.read, time.monotonic, self.heard.append
        rest = self._rest
        while True:
            for fd, _ in poll():
                if fd == end_fd:
                    return
                try:
                    data = read(fd, READ_BYTES)
                except ConnectionError:
                    data = b""
                if data and data[0] == TEXT and len(data) == data[1] + 2 and not rest.get(fd):
                    heard((now(), data))  # nearly always: one whole frame, and a small one
                else:
                    self._take(fd, data)
            time.sleep(LOOK_EVERY_S)

    def _take(self, fd: int, data: bytes) -> None:
        """Take what is not one small frame; nothing means that the socket was closed."""
        if not data:
            self._lose(fd)
            return
        whole, self._rest[fd] = frames(self._rest.get(fd, b"") + data)
        for frame in whole:
            if frame[0] == PING:
                os.write(fd, bytes((0x8A, 0x80 | len(frame) - 2, 0, 0, 0, 0)) + frame[2:])
            elif frame[0] == CLOSE:
                self._lose(fd)
                return
            else:
                self.heard.append((time.monotonic(), frame))

    def prices(self) -> tuple[array.array[int], array.array[float]]:
        """Return the broadcasts' numbers that were heard, and when."""
        numbers, times = array.array("q"), array.array("d")
        for at_s, frame in self.heard:
            if PRICES in frame and (found := PRICE.search(frame)):
                numbers.append(int(found[1]))
                times.append(at_s)
        return numbers, times

    def _lose(self, fd: int) -> None:
        self.lost += 1
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()


def main() -> None:
    audience = Audience(msgspec.json.decode(sys.stdin.buffer.raw.readline()))

    def gather() -> None:
        try:
            audience.gather()
        except ConnectionError as error:
            sys.stdout.write(f"{error}\n")
        else:
            sys.stdout.write("connected\n")
        sys.stdout.flush()

    threading.Thread(target=gather, daemon=True).start()
    audience.hear_all(sys.stdin.fileno())  # until a line says that the broadcasts are over
    numbers, times = audience.prices()
    with Path(audience.order["file"]).open("wb") as out:
        numbers.tofile(out)
        times.tofile(out)
    said = {"seen": len(numbers), "lost": audience.lost, "refused": audience.refused}
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")


if __name__ == "__main__":
    main()
