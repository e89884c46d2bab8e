"""The commands that every hit and every miss cost, without the client's way around them.

redis-py's client spends about 100 us of CPU around an MGET that costs 30: it takes a connection
out of a locked pool, looks whether something unread lies in it, wraps the call for retries and
metrics, and its sockets poll before each read. Here a few sockets are kept, opened and logged in by
redis-py, on which RESP2 is spoken: one write, one read, and the kernel ends long waits.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hiredis
import redis
from redis.exceptions import BusyLoadingError

IDLE_AT_MOST = 32
CHUNK_BYTES = 65_536
_NOTHING = object()

Command = tuple[str | bytes | int, ...]


class Lines:
    """The free connections; as many are open as threads ask at once.

    Not inherited over a fork: the child makes a store of its own, and this with it.
    """

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._free: deque[Line] = deque()

    def ask(self, client: redis.Redis, *commands: Command) -> list[Any]:
        """Return the replies to `commands`, sent at once, within the time limits of `client`.

        Raises as redis-py does. A socket that the server has closed meanwhile is tried once more,
        by a new one: every command here may be given twice. A connection on which anything went
        wrong is closed, so that no answer is ever taken for another's.
        """
        if self._client is not client:  # the settings name another server: only tests do that
            self.close()
            self._client = client
        request = packed(commands)
        try:
            line = self._free.pop()  # the one used last: the others may end in peace
        except IndexError:
            return self._over(client, Line(client), request, len(commands))
        try:
            return self._over(client, line, request, len(commands))
        except redis.ConnectionError:
            return self._over(client, Line(client), request, len(commands))

    def _over(self, client: redis.Redis, line: Line, request: bytes, replies: int) -> list[Any]:
        try:
            said = line.ask(request, replies)
        except BaseException:
            line.close()
            raise
        if len(self._free) < IDLE_AT_MOST and self._client is client:
            self._free.append(line)
        else:
            line.close()
        for reply in said:
            if isinstance(reply, hiredis.ReplyError):
                raise _error(reply)
        return said

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


class Line:
    """One connection. The kernel ends a wait for a piece of an answer after the client's
    `socket_timeout`; after that time no further piece is waited for, and what is there already is
    taken all the same: a thread that got no processor for a while is not the server's fault."""

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        self._connection = pool.connection_class(**pool.connection_kwargs)
        self._connection.connect()  # logs in and chooses the database
        self._limit_s: float | None = pool.connection_kwargs.get("socket_timeout")
        self._socket: socket.socket = self._connection._sock
        self._parser = hiredis.Reader(notEnoughData=_NOTHING)
        self._by_kernel = self._limit_s is not None and not isinstance(self._socket, ssl.SSLSocket)
        if self._limit_s is not None and self._by_kernel:
            # Python's own limit, which TLS has, costs a poll before each read and write.
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(self._limit_s), int(self._limit_s % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def ask(self, request: bytes, replies: int) -> list[Any]:
        """Send it and read so many replies; an error among them is returned, not raised."""
        try:
            return self._ask(request, replies)
        except (BlockingIOError, TimeoutError) as error:
            raise redis.TimeoutError(f"no answer within {self._limit_s} s") from error
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        except hiredis.ProtocolError as error:
            raise redis.InvalidResponse(str(error)) from error

    def _ask(self, request: bytes, replies: int) -> list[Any]:
        ends_at = monotonic() + self._limit_s if self._limit_s and self._by_kernel else None
        self._socket.sendall(request)
        chunk = self._socket.recv(CHUNK_BYTES)
        said: list[Any] = []
        while True:
            if not chunk:
                raise redis.ConnectionError("the server closed the connection")
            self._parser.feed(chunk)
            while (reply := self._parser.gets()) is not _NOTHING:
                said.append(reply)
            if len(said) >= replies:
                break
            late = ends_at is not None and monotonic() > ends_at
            chunk = self._socket.recv(CHUNK_BYTES, socket.MSG_DONTWAIT if late else 0)
        if len(said) > replies or self._parser.has_data():
            raise redis.InvalidResponse("the server says what nobody asked for")
        return said

    def close(self) -> None:
        self._connection.disconnect()


def packed(commands: Sequence[Command]) -> bytes:
    """Return commands as a server reads them.

    >>> packed([("GET", "key")])
    b'*2\\r\\n$3\\r\\nGET\\r\\n$3\\r\\nkey\\r\\n'
    """
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _error(error: hiredis.ReplyError) -> redis.RedisError:
    said = str(error)
    if said.startswith("LOADING"):  # it is starting: as good as away
        return BusyLoadingError(said)
    return redis.ResponseError(said)
