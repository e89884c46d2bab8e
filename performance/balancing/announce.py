"""The heartbeat of this process: a daemon thread that announces the node once a second.

It never disturbs the node: what fails is logged once, and tried again at the next beat.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import redis

from performance.balancing.arrivals import take_p95_ms
from performance.balancing.errors import NodeRefused
from performance.balancing.nodes import Node
from performance.balancing.registry import Registry

logger = logging.getLogger(__name__)


class Heartbeat:
    """Announces one node until it is stopped. Made again by itself in a forked child."""

    def __init__(
        self,
        node: Node,
        registry: Callable[[], Registry],
        every_s: float,
        losses: Callable[[], Callable[[], tuple[str, ...]]] = lambda: tuple,
    ) -> None:
        """`losses` makes, anew for each process, what tells the dependencies that it lost."""
        self._node = node
        self._losses = losses
        self._registry = registry
        self._every_s = every_s
        self._stopped = threading.Event()
        self._pid = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in this process, or do nothing when it beats already."""
        if self._pid == os.getpid() and self._thread is not None and self._thread.is_alive():
            return
        if self._pid == 0:
            atexit.register(self.stop)
            os.register_at_fork(after_in_child=self._begin)
        self._begin()

    def _begin(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped = threading.Event()  # the parent's may be held by a thread that is not here
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._beat, name="node-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Withdraw the node and end the thread; bounded by the bus's timeout."""
        if self._pid != os.getpid() or self._stopped.is_set():
            return
        self._stopped.set()
        with contextlib.suppress(redis.RedisError):
            self._registry().withdraw(self._node.id, self._pid)

    def _beat(self) -> None:
        process = psutil.Process()
        lost = self._losses()
        process.cpu_percent()  # the first answer is always 0: it only starts the clock
        away = False
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._registry().announce(self._measured(process, lost()), self._pid)
            except NodeRefused as error:
                logger.error("%s", error)  # it will not change by waiting
                return
            except (redis.RedisError, OSError) as error:
                if not away:
                    logger.warning(
                        "The bus is away, so %s is not announced: %s", self._node.id, error
                    )
                away = True
            else:
                if away:
                    logger.info("The bus is back; %s is announced again.", self._node.id)
                away = False
            self._stopped.wait(max(0.1, self._every_s - (time.monotonic() - began)))

    def _measured(self, process: psutil.Process, lost: tuple[str, ...]) -> Node:
        with process.oneshot():
            return replace(
                self._node,
                lost=lost,
                memory_bytes=process.memory_info().rss,
                cpu_ratio=round(process.cpu_percent() / 100, 3),
                queue_p95_ms=take_p95_ms() if self._node.kind == "web" else None,
            )
