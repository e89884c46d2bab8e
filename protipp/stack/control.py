"""The socket by which the balancer asks for nodes: one JSON line in, one JSON line out.

`{"op": "start", "kind": "web", "id": "web-3"}`, the same with `stop`, and `{"op": "list"}`.
Only our own account can open it. Asking twice is as good as asking once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from protipp.stack.errors import StackError

ASKED_WITHIN_S = 5.0
LONGEST_BYTES = 4_096
Act = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, acts: dict[str, Act]) -> asyncio.Server:
    """Listen on `path`; `acts` maps an op to what does it, given the whole request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ASKED_WITHIN_S):
                said = await _do(await reader.readline(), acts)
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # one who says nothing, leaves, or never ends the line gets nothing
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # of one that was killed; the tree's lock says that it is gone
    server = await asyncio.start_unix_server(answer, str(path), limit=LONGEST_BYTES)
    path.chmod(0o600)  # its folder is 0700: nobody can be quicker
    return server


async def _do(line: bytes, acts: dict[str, Act]) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        return {"ok": False, "error": "a request is one line of JSON"}
    op = request.get("op") if isinstance(request, dict) else None
    if not isinstance(op, str) or op not in acts:
        return {"ok": False, "error": f"op is {op!r}; it must be one of: {', '.join(sorted(acts))}"}
    try:
        return {"ok": True, **await acts[op](request)}
    except StackError as error:
        return {"ok": False, "error": str(error)}
