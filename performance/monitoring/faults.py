"""Exceptions as groups: one kind from one function of our code, its text without values.

A message may hold what a person typed: what is quoted in it is left out, and a trace has files,
lines and functions only.
"""

from __future__ import annotations

import hashlib
import re
import traceback
from functools import cache
from pathlib import Path

from django.conf import settings

from performance.monitoring import wire

MESSAGE_LENGTH = 300
PLACE_LENGTH = 200
TRACE_FRAMES = 25
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?<==)\([^)]*\)")


def describe(error: BaseException, endpoint: str) -> wire.Fault:
    """Return what is told of an exception; its fingerprint leaves out lines, which move."""
    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _is_ours(frame.filename)] or list(frames)
    place, line = "(nowhere)", ""
    if ours:
        frame = ours[-1]
        place = f"{_short(frame.filename)} {frame.name}"
        line = f":{frame.lineno}"
    digest = hashlib.sha256(f"{kind}|{place}".encode()).hexdigest()[:16]
    trace = [f"{_short(one.filename)}:{one.lineno} {one.name}" for one in frames[-TRACE_FRAMES:]]
    return wire.Fault(
        fingerprint=digest,
        kind=kind[:120],
        place=(place.replace(" ", line + " ", 1) if ours else place)[:PLACE_LENGTH],
        message=scrubbed(str(error)),
        trace="\n".join(trace),
        endpoint=endpoint[: wire.KEY_LENGTH],
        times=1,
    )


def scrubbed(text: str) -> str:
    """Return the first line without what is quoted in it.

    >>> scrubbed("No event 'abc'\\nDETAIL: x"), scrubbed("Key (mail)=(a@b.c) exists")
    ("No event '…'", 'Key (mail)=(…) exists')
    """

    def hidden(found: re.Match[str]) -> str:
        return f"{found[0][0]}…{found[0][-1]}"

    line = text.partition("\n")[0][: 4 * MESSAGE_LENGTH]
    return _QUOTED.sub(hidden, line)[:MESSAGE_LENGTH]


@cache
def _is_ours(filename: str) -> bool:
    path = Path(filename)
    root = settings.BASE_DIR
    return path.is_relative_to(root) and not {".venv", "site-packages"} & set(path.parts)


@cache
def _short(filename: str) -> str:
    """A path below the project or below site-packages: the rest is the machine's."""
    path = Path(filename)
    if _is_ours(filename):
        return str(path.relative_to(settings.BASE_DIR))
    if "site-packages" in path.parts:
        at = len(path.parts) - 1 - path.parts[::-1].index("site-packages")
        return "/".join(path.parts[at + 1 :])
    return path.name
