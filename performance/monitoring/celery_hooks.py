"""Celery measured by its own signals: how long tasks wait, run, are retried, and fail.

Series: `task` by name (run), `task_wait` by name (from being sent to being started; only where
the sender is one of ours), `beat_late` by entry of the timetable; counts `task_retry` and
`task_failed` by name.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals

from performance.core import signals as core_signals
from performance.monitoring.recorder import StreamRecorder

SENT_AT = "protipp_sent_at"
"""Header of our own: the wall clock of the sender, as Celery carries none."""

_started_s: dict[str, float] = {}
_FORGET_ABOVE = 1000
"""A task killed half-way never ends here; beyond this many the oldest is forgotten."""


def connect(recorder: StreamRecorder) -> None:
    """Connect the receivers, once a process."""
    signals.before_task_publish.connect(_stamp, dispatch_uid="performance.stamp")
    signals.task_prerun.connect(_begin, dispatch_uid="performance.begin")
    signals.task_postrun.connect(_end, dispatch_uid="performance.end")
    signals.task_retry.connect(_retried, dispatch_uid="performance.retried")
    signals.task_failure.connect(_failed, dispatch_uid="performance.failed")

    signals.beat_init.connect(_watch_beat, dispatch_uid="performance.beat")

    def start_in_child(**kwargs: Any) -> None:
        recorder.start()

    def stop_in_child(**kwargs: Any) -> None:
        recorder.stop()

    signals.worker_process_init.connect(start_in_child, weak=False, dispatch_uid="performance.up")
    signals.worker_process_shutdown.connect(
        stop_in_child, weak=False, dispatch_uid="performance.down"
    )


def _stamp(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    if headers is not None:
        headers.setdefault(SENT_AT, time.time())


def _begin(task_id: str, task: Any, **kwargs: Any) -> None:
    if len(_started_s) >= _FORGET_ABOVE:
        _started_s.pop(next(iter(_started_s)))
    _started_s[task_id] = time.perf_counter()
    sent_at = task.request.get(SENT_AT) or (task.request.headers or {}).get(SENT_AT)
    # A retry or a countdown waits on purpose: only a first, immediate run tells of the queue.
    if isinstance(sent_at, int | float) and not task.request.eta and not task.request.retries:
        # Two machines' clocks may differ by more than the wait; that is 0, not a mistake.
        core_signals.recorder.observe("task_wait", task.name, max(0.0, time.time() - sent_at))


def _end(task_id: str, task: Any, state: str | None = None, **kwargs: Any) -> None:
    started_s = _started_s.pop(task_id, None)
    if started_s is not None:
        core_signals.recorder.observe(
            "task", task.name, time.perf_counter() - started_s, state in ("SUCCESS", "RETRY")
        )


def _retried(sender: Any = None, **kwargs: Any) -> None:
    core_signals.recorder.count("task_retry", sender.name)


def _failed(sender: Any = None, exception: BaseException | None = None, **kwargs: Any) -> None:
    core_signals.recorder.count("task_failed", sender.name)
    recorder = core_signals.recorder
    if exception is not None and isinstance(recorder, StreamRecorder):
        recorder.fault(exception, f"task {sender.name}")


def _watch_beat(sender: Any = None, **kwargs: Any) -> None:
    """Time how late beat sends each entry: from when it was due to when it is sent."""
    scheduler = sender.scheduler
    apply_entry = scheduler.apply_entry

    def timed(entry: Any, producer: Any = None) -> None:
        every = getattr(entry.schedule, "run_every", None)
        if every is not None and entry.last_run_at is not None:
            late_s = (entry.default_now() - entry.last_run_at - every).total_seconds()
            core_signals.recorder.observe("beat_late", entry.name, max(0.0, late_s))
        apply_entry(entry, producer=producer)

    scheduler.apply_entry = timed
