"""A process of the stack: how it is started, known to be ready, and ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from protipp.stack import priority
from protipp.stack.accounts import Account
from protipp.stack.errors import StackError

PR_SET_PDEATHSIG = 1
POLL_EVERY_S = 0.02
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that is to know of a process before it runs."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment, nothing inherited."""
    cwd: Path = Path("/")
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    """Sent to the process alone; it ends its own children."""
    waiting_for: Callable[[], str | None] = lambda: None
    """Return None once it answers, else what is still missing; at most 1 s, never raises."""
    ready_within_s: float = 30.0
    ready_line: str = ""
    """For a process that answers nobody: what its log says once it works; empty asks nothing."""
    nice: int = 0
    """How far it stands back where processors are wanted by several at once, by `priority`."""
    behind: bool = False
    """Whether it boots behind all others; once it answers it has its share like them."""
    drop: str = r"(?!)"  # finds nothing
    """A regular expression: what it finds is taken out of each line, an empty line is not shown."""
    remedy: str = ""
    """What to do when it does not start: a sentence that names the setting."""


def popen_options(spec: Spec) -> dict[str, object]:
    """Return what subprocess needs beside the argv: own session, account, and a bound life."""
    options: dict[str, object] = {
        "env": dict(spec.environment),
        "cwd": spec.cwd,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,  # Ctrl-C reaches us alone, and we end the others in order
        "preexec_fn": die_with_parent(spec.stop_signal),
    }
    if spec.account is not None:
        options |= {"user": spec.account.uid, "group": spec.account.gid, "extra_groups": []}
    return options


def die_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    """Ask the kernel to send `stop_signal` when we die, even by kill -9.

    It runs after the account is changed, which would clear the request.
    """
    parent = os.getpid()

    def before_exec() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def start(spec: Spec, log: Path) -> subprocess.Popen[bytes]:
    """Start `spec` with its output in `log`, and return once it answers."""
    with log.open("ab") as output:
        process = run(spec, output)
    deadline = time.monotonic() + spec.ready_within_s
    while (missing := spec.waiting_for()) is not None:
        if process.poll() is not None:
            raise failed(spec, describe_exit(process.returncode), _tail(log))
        if time.monotonic() > deadline:
            end(process, spec.stop_signal, within_s=2)
            raise failed(spec, f"not within {spec.ready_within_s:.0f} s ({missing})", _tail(log))
        time.sleep(POLL_EVERY_S)
    return process


def run(spec: Spec, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    try:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            spec.argv, stdout=output, stderr=subprocess.STDOUT, **popen_options(spec)
        )
    except OSError as error:
        raise failed(spec, str(error), "") from error
    if spec.nice:
        priority.set_number(process.pid, spec.nice)
    return process


def end(process: subprocess.Popen[bytes], stop_signal: signal.Signals, *, within_s: float) -> None:
    """End a process: asked first, killed with its whole session after `within_s`."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(within_s)


def failed(spec: Spec, why: str, said: str) -> StackError:
    """Return the error of a process that did not start, in one line."""
    last = f" Its last words: {said}" if said else ""
    return StackError(" ".join(f"{spec.name} failed: {why}. {spec.remedy}{last}".split()))


def describe_exit(code: int) -> str:
    """Say how a process ended, by a return code as subprocess gives it."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"


def _tail(log: Path, lines: int = 3) -> str:
    """Return the last lines of a log in one, for a message."""
    found = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(found[-lines:])
