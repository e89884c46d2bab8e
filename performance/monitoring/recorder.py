"""Numbers of this process, gathered in a dict and sent to the bus once a second.

A measurement is appended to one list, without a lock, and counted with the others of that second:
under a microsecond for both. It never raises, never waits for a server, and never grows: what is
over budget is dropped and counted, and the count is sent.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage

import psutil
import redis

from performance.monitoring import clock, hosts, wire
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.durations import FULL, Durations
from performance.monitoring.worst import Worst

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
GROWS_FROM_S = 0.005
"""A request that took so long is always asked whether the memory has reached a new peak."""
WATCHED_S = 60.0
QUICK = "(quick requests)"
"""To whom growth belongs that was found when nobody looked at single requests."""
BUILD = os.environ.get("PROTIPP_BUILD", "")[:40]

_current_clock = clock.current.get
_CLASSES = {status: clock.STATUS_CLASSES[status // 100] for status in range(100, 600)}

_alive: weakref.WeakSet[StreamRecorder] = weakref.WeakSet()


class StreamRecorder:
    """The recorder of `core.signals`, over a stream. `bus` is asked for its client at each send."""

    def __init__(
        self, *, node: str, process: str, bus: Callable[[], redis.Redis], conf: MonitoringConf
    ) -> None:
        self.node = node
        self.process = process
        self._bus = bus
        self._conf = conf
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        """Start from nothing: when made, and in the child after a fork."""
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._durations = Durations(self._conf.process_series, clock.label)
        self._fresh = self._durations.fresh
        self._full = 1  # the first measurement starts the thread
        self._counts: dict[tuple[str, str], int] = {}
        self._gauges: dict[tuple[str, str], float] = {}
        self._worst = Worst()
        self._slow_s = self._conf.slow_request_ms / 1000
        self._dropped = 0
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._bus_is_away = False
        self._born = time.time_ns()
        self._number = 0
        self._swapped_at = time.monotonic()
        self._cpu_s = time.process_time()
        self._cost_ms = 0.0
        self._peak_kb = _peak_kb()
        self._watches_growth = True
        self._grown_at_s = time.monotonic()

    # --- the hot path ---------------------------------------------------------------------------

    def observe(self, kind: str, key: str, seconds: float, ok: bool = True) -> None:
        fresh = self._fresh
        fresh.append((kind, key, "ok" if ok else "error", seconds))
        if len(fresh) >= self._full:
            self._attend()
        if kind == "sql" or kind == "cache" or kind == "http_out":
            spent = _current_clock()
            if spent is not None:
                if kind == "sql":
                    spent.sql_s += seconds
                    spent.sql_count += 1
                elif kind == "cache":
                    spent.cache_s += seconds
                else:
                    spent.http_s += seconds

    def count(self, kind: str, key: str, amount: int = 1) -> None:
        with self._lock:
            slot = (kind, key)
            if slot not in self._counts and len(self._counts) >= self._conf.process_series:
                slot = (kind, wire.OTHER)
                self._dropped += 1
            self._counts[slot] = self._counts.get(slot, 0) + amount
        if self._thread is None:
            self.start()

    def gauge(self, kind: str, key: str, value: float) -> None:
        with self._lock:
            if (kind, key) in self._gauges or len(self._gauges) < self._conf.process_series:
                self._gauges[kind, key] = value
            else:
                self._dropped += 1

    def request(
        self,
        endpoint: str | clock.Where,
        status: int,
        seconds: float,
        spent: clock.Clock | None = None,
    ) -> None:
        """Count one request; keep it as a sample when it failed or is among its route's slowest.

        `endpoint` is a label, or what `clock.label` makes one of; it does so later, for many.
        """
        fresh = self._fresh
        fresh.append(("request", endpoint, _CLASSES.get(status, "5xx"), seconds))
        if len(fresh) >= self._full:
            self._attend()
        if (seconds >= GROWS_FROM_S or self._watches_growth) and _peak_kb() > self._peak_kb:
            self._grown(clock.label(endpoint))
        if spent is None:
            return
        if status >= 500:
            label = clock.label(endpoint)
            if spent.error is not None:
                self.fault(spent.error, label)
            self._worst.failed(label, status, seconds, spent)
        elif seconds >= self._slow_s:
            self._worst.slow(clock.label(endpoint), status, seconds, spent)

    def fault(self, error: BaseException, endpoint: str) -> None:
        """Note an exception, grouped with its like; too many different ones are dropped."""
        if not self._worst.fault(error, endpoint):
            self._drop(1)

    def _grown(self, label: str) -> None:
        """Note by how much this process's memory has reached a new peak, and in which request.

        With several threads it may have been another's: over many requests it evens out.
        """
        with self._lock:
            now_kb = _peak_kb()
            grown_kb, self._peak_kb = now_kb - self._peak_kb, now_kb
            self._grown_at_s = time.monotonic()
        self._watches_growth = True
        if grown_kb > 0:
            self.count("memory_growth", label, grown_kb * 1024)

    def _look_for_growth(self) -> None:
        """Once a second: what grew in quick requests that nobody looked at, and for how long more.

        To ask for the peak costs a quarter of all that a request costs here, so quick ones are
        asked only while there is something to be found: for a minute after each growth.
        """
        if _peak_kb() > self._peak_kb:
            self._grown(QUICK)
        elif time.monotonic() - self._grown_at_s > WATCHED_S:
            self._watches_growth = False

    def _attend(self) -> None:
        """Start the thread when it is the first measurement, and count when the list is full."""
        if self._thread is None:
            self.start()
        self._full = FULL
        if len(self._fresh) >= FULL:
            self._durations.count()

    def _drop(self, observations: int) -> None:
        with self._lock:
            self._dropped += observations

    # --- the sender -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sending thread, once a process. After a fork the first measurement does it."""
        with self._lock:
            if self._thread is not None or self._stop.is_set():
                return
            self._thread = threading.Thread(
                target=self._run, name="performance recorder", daemon=True
            )
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending; the last flush sends what is left
            self._stop.set()

    def stop(self) -> None:
        """Send what is left, marked as the last of this process; bounded by the bus's timeout."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.flush(leaving=True)

    def _run(self) -> None:
        # On the wall clock's whole seconds: then a second means the same in all processes, and
        # the monitor need not wait for stragglers.
        stop, due = self._stop, time.monotonic() + PERIOD_S - time.time() % PERIOD_S
        while not stop.wait(max(0.0, due - time.monotonic())):
            late_s = time.monotonic() - due
            due = max(due + PERIOD_S, time.monotonic())  # never a burst after a pause
            self.flush(lag_ms=late_s * 1000)

    def flush(self, *, lag_ms: float = 0.0, leaving: bool = False) -> bool:
        """Pack what was gathered and send it; False when the bus did not take it (it is kept)."""
        with self._sending:
            started = time.thread_time()
            sample = self._swap(lag_ms, leaving)
            observed = sum(row[3].n for row in sample.series)
            self._backlog.append((wire.encoder.encode(sample), observed + sample.dropped))
            while len(self._backlog) > self._conf.backlog:
                self._drop(self._backlog.popleft()[1])
            sent = self._send()
            self._cost_ms = (time.thread_time() - started) * 1000
            return sent

    def _swap(self, lag_ms: float, leaving: bool) -> wire.Sample:
        self._look_for_growth()
        with self._lock:
            counts, self._counts = self._counts, {}
            dropped, self._dropped = self._dropped, 0
            gauges = dict(self._gauges)
        series, refused = self._durations.swap()
        requests, statements, faults = self._worst.take()
        now, cpu_s = time.monotonic(), time.process_time()
        span_s, self._swapped_at = now - self._swapped_at, now
        used_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        self._number += 1
        return wire.Sample(
            node=self.node,
            process=self.process,
            pid=os.getpid(),
            number=self._number,
            born=self._born,
            span_s=round(span_s, 3),
            series=[(*key, histogram) for key, histogram in series.items()],
            counts=[(*key, amount) for key, amount in counts.items()],
            gauges=[(*key, value) for key, value in gauges.items()],
            rss_bytes=psutil.Process().memory_info().rss,
            cpu_s=round(used_s, 6),
            lag_ms=round(lag_ms, 3),
            cost_ms=round(self._cost_ms, 3),
            dropped=dropped + refused,
            requests=requests,
            leaving=leaving,
            build=BUILD,
            faults=faults,
            host=hosts.look() if self._number % hosts.EVERY_SECONDS == 1 else None,
            statements=statements,
        )

    def _send(self) -> bool:
        try:
            while self._backlog:
                self._bus().xadd(
                    wire.SAMPLES,
                    {"s": self._backlog[0][0]},
                    maxlen=self._conf.sample_entries,
                    approximate=True,
                )
                self._backlog.popleft()
        except (redis.RedisError, OSError) as error:
            if not self._bus_is_away:
                logger.warning("The bus takes no samples (%s); holding the last seconds.", error)
            self._bus_is_away = True
            return False
        if self._bus_is_away:
            logger.warning("The bus takes samples again.")
        self._bus_is_away = False
        return True


def _peak_kb() -> int:
    """The most memory this process ever had, in KB on Linux; 0.5 us."""
    return getrusage(RUSAGE_SELF).ru_maxrss


def _after_fork() -> None:
    """The parent sends what it gathered; the child begins with nothing, and a thread of its own."""
    for recorder in list(_alive):
        recorder._begin()


os.register_at_fork(after_in_child=_after_fork)
