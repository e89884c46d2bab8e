"""The machine that a process runs on: looked at every few seconds, about 0.3 ms each time."""

from __future__ import annotations

import os
import socket

import psutil

from performance.monitoring import wire

EVERY_SECONDS = 5
ROOT = "/"


def look() -> wire.Host:
    """Return the machine's load now; CPU is that since the last look, 0 at the first."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(ROOT)
    return wire.Host(
        name=socket.gethostname()[:80],
        cores=os.cpu_count() or 1,
        cpu_ratio=round(psutil.cpu_percent(interval=None) / 100, 3),
        load=round(os.getloadavg()[0], 2),
        memory_used_bytes=memory.total - memory.available,
        memory_bytes=memory.total,
        disk_used_bytes=disk.used,
        disk_bytes=disk.total,
    )
