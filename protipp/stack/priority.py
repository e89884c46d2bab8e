"""Who goes first where processors are wanted by several at once.

Everybody waits for the proxy, the caches and the live nodes, which need little; then come web nodes
and the database, then what works for nobody in particular, and a node that boots before anybody
waits for it. Without this, ten thousand users on two cores waited 80 ms for what lay in the proxy's
cache, and pages drawn meanwhile made the last of 5,000 sockets hear a frame 400 ms after the first.

Nice numbers weigh only within one session where the kernel groups them (autogroup), and each of our
processes has a session of its own; so both are set. A nice number can be taken back only with
CAP_SYS_NICE: without it only the session's is set, which anybody may give back.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

NODES = 5
BEHIND = 10
"""Of 19: a third of what a node gets. With much less one would never boot in a long rush."""
CAP_SYS_NICE = 23
TRIES = 4
AGAIN_AFTER_S = 0.1
"""The kernel takes one session's number in that time from all but root together."""
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


def set_number(pid: int, number: int, *, nice: bool = True) -> None:
    """Give the session of `pid`, all its processes and threads, a number from 0 to 19.

    It never fails: a system that does not allow it runs all alike. `nice` False leaves the
    processes' own numbers, for what is to be taken back. Waits 0.3 s at most.
    """
    if nice:
        with contextlib.suppress(OSError):  # it ended meanwhile, or would be raised
            os.setpriority(os.PRIO_PGRP, pid, number)
    group = Path(f"/proc/{pid}/autogroup")
    for left in reversed(range(TRIES)):
        try:
            group.write_text(str(number))
        except BlockingIOError:
            time.sleep(AGAIN_AFTER_S if left else 0)
        except OSError:  # no such file: the kernel groups nobody
            return
        else:
            return
