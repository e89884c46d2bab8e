"""uvicorn's WebSocket protocol, and beside ASGI a way to write one ready frame.

Through ASGI a frame costs a coroutine, a message, a state machine and an encoding for each socket:
43 us of Python, where the system call that sends it costs 7. Handshakes, pings, closing and all
that is heard stay uvicorn's. A node runs it by `--ws odds.live_line:LineProtocol`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast

from django.core.exceptions import ImproperlyConfigured
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "protipp.line"
FRAME_TEXT = 0x81
"""The first byte of a whole text message in one frame (RFC 6455, 5.2); a server masks none."""


class Line(Protocol):
    """What a socket can do with its connection. All of it at once, nothing waits."""

    def write(self, frame: bytes) -> bool:
        """Send a frame and return True; while the connection takes no more, return False.

        A connection that is being closed takes everything, for nobody.
        """
        ...

    def when_writable(self, call: Callable[[], None]) -> None:
        """Let this be called each time that the connection takes frames again."""
        ...

    def abort(self) -> None: ...


class LineProtocol(WebSocketsSansIOProtocol):
    """One connection: its own `Line`, which an application finds in its scope's extensions."""

    _when_writable: Callable[[], None] | None = None

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # the handshake is one; the application has not yet begun
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    def write(self, frame: bytes) -> bool:
        if self.close_sent or self.transport.is_closing():
            return True
        if not self.writable.is_set():
            return False
        self.transport.write(frame)
        return True

    def when_writable(self, call: Callable[[], None]) -> None:
        self._when_writable = call

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._when_writable is not None:
            self._when_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self._when_writable = None  # what is called knows its line: a circle
        super().connection_lost(exc)

    def abort(self) -> None:
        self.transport.abort()


def line_of(scope: dict[str, Any]) -> Line:
    """Return the connection's line; ImproperlyConfigured when the server gives none."""
    line: Line | None = scope.get("extensions", {}).get(EXTENSION)
    if line is None:
        raise ImproperlyConfigured(
            f"This server's sockets have no {EXTENSION!r}, which live odds are written through. "
            "Run uvicorn with --ws odds.live_line:LineProtocol."
        )
    return line


def text_frame(number: int, tail: bytes) -> bytes:
    """Return the frame of `{"n":<number>,<tail>`, ready to be written. 0.4 us, and the copy."""
    begin = b'{"n":%d,' % number
    return _head(len(begin) + len(tail)) + begin + tail


@functools.lru_cache(maxsize=1024)
def _head(size: int) -> bytes:
    if size < 126:
        return bytes((FRAME_TEXT, size))
    if size < 65_536:
        return bytes((FRAME_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((FRAME_TEXT, 127)) + size.to_bytes(8, "big")
