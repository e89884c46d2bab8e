"""A whole stack for tests: started as people start it, in a folder and on a port of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER_SETTINGS = ("DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "PROTIPP_PROCESS")
STARTS_WITHIN_S = 120


class Up:
    """`manage.py up` in `local`. Its output is a file, so that it never waits for a reader."""

    def __init__(self, local: Path, **environment: str) -> None:
        self.local = local
        self.port = free_port()
        self.output = local / "output"
        clean = {name: value for name, value in os.environ.items() if name not in SERVER_SETTINGS}
        own = {"PROTIPP_LOCAL_DIR": str(local), "PORT": str(self.port)}
        self.environment = {**clean, **own, **environment}
        self.process: subprocess.Popen | None = None

    def start(self) -> Up:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.argv, stdout=output, stderr=output, env=self.environment
            )
        self.until(lambda: "· Ctrl-C" in self.text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.text()
        return self

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), "up", "--source", "none"]

    def refused(self, **environment: str) -> tuple[int, str]:
        """Run a second one to its end; return its exit code and what it said."""
        ended = subprocess.run(
            self.argv, env={**self.environment, **environment}, timeout=30,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def noted(self) -> dict[str, int]:
        """The pids of all its processes, by name."""
        found = json.loads((self.local / "processes.json").read_text())
        return {process["name"]: process["pid"] for process in found}

    def everyone(self) -> set[psutil.Process]:
        """Every process of it, the children of children too."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return {psutil.Process(self.process.pid), *found}

    @staticmethod
    def until(true, within_s: float = STARTS_WITHIN_S):
        """Wait for something to become true, and return it."""
        deadline = time.monotonic() + within_s
        while not (found := true()):
            assert time.monotonic() < deadline, "it did not become true in time"
            time.sleep(0.05)
        return found

    @staticmethod
    def still_there(processes: set[psutil.Process], within_s: float) -> list[psutil.Process]:
        return psutil.wait_procs(processes, timeout=within_s)[1]

    def status(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait; return how long it took, in seconds."""
        began = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)
        return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def new_up():
    """Make stacks that are not started yet, each in a short folder that is removed at the end."""
    made = []

    def make(**environment: str) -> Up:
        local = Path(tempfile.mkdtemp(prefix="protipp-up-"))
        local.chmod(0o711)  # as root, PostgreSQL's own account must pass through
        made.append(Up(local, **environment))
        return made[-1]

    yield make
    for stack in made:
        stack.end()
        shutil.rmtree(stack.local, ignore_errors=True)


@pytest.fixture(scope="module")
def up(new_up):
    """One running stack that the tests of a module share; what they break, they mend."""
    return new_up().start()
