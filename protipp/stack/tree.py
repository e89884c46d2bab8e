"""One stack a tree: who holds it, where it answers, and what a killed one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from protipp.stack.errors import StackError
from protipp.stack.folders import write_private

TAKE_WITHIN_S = 0.5
"""A command that only looks holds the lock for an instant; who runs holds it for ever."""
LEFTOVERS_END_WITHIN_S = 4.0


class Tree:
    """The local folder of one checkout. The lock is the kernel's: it dies with its holder."""

    def __init__(self, local: Path) -> None:
        self.local = local
        self._lock: int | None = None

    def take(self, what: str) -> None:
        """Hold this tree from now on; StackError says who holds it already."""
        self.local.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.local / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + TAKE_WITHIN_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.read(lock, 200).decode()
                    os.close(lock)
                    raise StackError(self._held_by(holder)) from None
                time.sleep(0.05)
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{what} (pid {os.getpid()})".encode(), 0)
        (self.local / "stack.json").unlink(missing_ok=True)  # of one that was killed

    def _held_by(self, holder: str) -> str:
        where = self._read("stack.json", {}).get("environment", {}).get("SITE_URL")
        at = f" at {where}/" if where else ""
        return (
            f"ProTipp runs in this tree already{at}: {holder or 'it is starting'}. "
            "Stop that one first, or set PROTIPP_LOCAL_DIR and PORT for a second stack."
        )

    def publish(self, port: int | None, environment: Mapping[str, str]) -> None:
        """Tell commands (by `protipp.env`) where the servers are; holds secrets, so 0600."""
        found = {"pid": os.getpid(), "port": port, "environment": dict(environment)}
        write_private(self.local / "stack.json", json.dumps(found, indent=1) + "\n")

    def withdraw(self) -> None:
        (self.local / "stack.json").unlink(missing_ok=True)

    def note(self, running: Iterable[tuple[str, int, int]]) -> None:
        """Keep (name, pid, stop signal) of what runs, for the one who comes after a kill -9."""
        noted = []
        for name, pid, stop_signal in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                began = psutil.Process(pid).create_time()
                noted.append({"name": name, "pid": pid, "began": began, "signal": stop_signal})
        write_private(self.local / "processes.json", json.dumps(noted) + "\n")

    def end_leftovers(self) -> list[str]:
        """End what a killed holder left, with all its children; return the names."""
        left = [
            (noted["name"], noted["signal"], found)
            for noted in self._read("processes.json", [])
            if (found := _session(noted["pid"], noted["began"]))
        ]
        for _name, stop_signal, found in left:
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(stop_signal)
        processes = [process for _, _, found in left for process in found]
        _, stubborn = psutil.wait_procs(processes, timeout=LEFTOVERS_END_WITHIN_S)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.note([])
        return [name for name, _, _ in left]

    def _read(self, name: str, default: Any) -> Any:
        try:
            return json.loads((self.local / name).read_text())
        except (FileNotFoundError, ValueError):
            return default


def _session(leader: int, began: float) -> list[psutil.Process]:
    """Return the living processes of a session that we started, by its leader's pid.

    The kernel gives no pid away that is still a session's id, so a dead leader's children are
    found for certain; a living process of that pid is ours only if it began when ours did.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(leader).create_time() - began) > 1:
            return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
