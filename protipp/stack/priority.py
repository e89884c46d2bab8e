"""Who goes first on a busy machine: a process that nobody waits for boots behind all others.

Nice numbers weigh only within one session where the kernel groups them (autogroup), and each of our
processes has a session of its own; so both are set. A nice number can be taken back only with
CAP_SYS_NICE: without it only the session's is set, which anybody may give back.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CAP_SYS_NICE = 23
LOW = 5
"""Of 19: a third of what an equal gets. With much less one would never boot in a long rush."""
_STATUS = Path("/proc/self/status")


def may_raise() -> bool:
    """Whether this process could undo a nice number; False where the system does not say."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> CAP_SYS_NICE & 1)
    except (OSError, ValueError):
        pass
    return False


def lower(pid: int, *, nice: bool) -> None:
    """Let the session of `pid` go behind all others, what it starts too. It never fails."""
    _set(pid, LOW, nice=nice)


def restore(pid: int, *, nice: bool) -> None:
    """Give the session of `pid`, all its processes and threads, an equal share again."""
    _set(pid, 0, nice=nice)


def _set(pid: int, number: int, *, nice: bool) -> None:
    with contextlib.suppress(OSError):  # no such file: the kernel groups nobody
        Path(f"/proc/{pid}/autogroup").write_text(str(number))
    if nice:
        with contextlib.suppress(OSError):  # it ended meanwhile
            os.setpriority(os.PRIO_PGRP, pid, number)
