"""What all tests share. Their servers come from `protipp.stack.testing`, before Django loads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import hypothesis
import psutil
import pytest
import redis
from django.conf import settings

from performance.core import stores

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("PROTIPP_SAMPLES") or ROOT.parent / "shared" / "data")

# Nothing is built for the tests, so files keep their plain names; tests/performance/cdn builds.
settings.STORAGES["staticfiles"]["BACKEND"] = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
)


hypothesis.settings.register_profile(
    "patient",
    deadline=None,  # of one example: on busy cores any can take long
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),  # what is found by chance is found by people first
    print_blob=True,
)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items):
    """Run a test of processes and time once more when it fails; the summary names each of them.

    Two noisy cores can take a second from anybody. What fails for a reason fails twice, and what
    must hold in every interleaving has none of these marks.
    """
    for item in items:
        if any(item.get_closest_marker(mark) for mark in ("timed", "stack", "browser")):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def _empty_stores():
    """No test sees what another left in either Valkey; costs about 0.2 ms.

    The cache's client gives up after 50 ms, which a busy machine may take: then once more.
    """
    ends = time.monotonic() + 20
    for store in (stores.bus, stores.cache_store):
        while True:
            try:
                store().flushall()
                break
            except redis.RedisError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real odds, which are no part of the repository."""
    if not SAMPLES.is_dir():
        pytest.skip(f"PROTIPP_SAMPLES: no real odds at {SAMPLES}")
    return SAMPLES


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's chromium."""
    return program("chromium")


def program(name: str) -> str:
    """Return where `name` is; without it the test skips by name, or fails in CI."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and in CI no test may skip for that")
    pytest.skip(f"{name} is not installed")


BUILT: Path | None = None
"""Where the static files stay that the first stack of all built: it takes that one ten seconds."""


@pytest.fixture(scope="session", autouse=True)
def _built_files(request):
    global BUILT
    if cache := getattr(request.config, "cache", None):
        BUILT = cache.mkdir("protipp-static")


def _lay_out_built_files(local: Path) -> None:
    """Let a new stack find them, if there are any; one that has other sources builds anew."""
    kept = BUILT / "built" if BUILT else None
    if kept is None or not kept.is_dir() or (local / "static").exists():
        return
    with contextlib.suppress(FileNotFoundError):  # another worker puts newer ones there
        shutil.copytree(kept / "static", local / "static")
        shutil.copy(kept / "static.digest", local)


def _keep_built_files(local: Path) -> None:
    if BUILT is None:
        return
    kept, digest = BUILT / "built", (local / "static.digest").read_bytes()
    with contextlib.suppress(FileNotFoundError):
        if (kept / "static.digest").read_bytes() == digest:
            return
    draft, old = BUILT / f"new-{os.getpid()}", BUILT / f"old-{os.getpid()}"
    shutil.copytree(local / "static", draft / "static")
    (draft / "static.digest").write_bytes(digest)
    with contextlib.suppress(FileNotFoundError):
        kept.rename(old)
    with contextlib.suppress(OSError):  # another worker was quicker
        draft.rename(kept)
    for folder in (old, draft):
        shutil.rmtree(folder, ignore_errors=True)


SERVER_SETTINGS = ("DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "PROTIPP_PROCESS")
STARTS_WITHIN_S = 120


class Up:
    """`manage.py up` in `local`, started as people start it, on a port of its own.

    Its output is a file, so that it never waits for a reader.
    """

    def __init__(self, local: Path, source: str = "none", **environment: str) -> None:
        self.local = local
        self.source = source
        self.port = free_port()
        self.output = local / "output"
        clean = {name: value for name, value in os.environ.items() if name not in SERVER_SETTINGS}
        own = {"PROTIPP_LOCAL_DIR": str(local), "PORT": str(self.port)}
        self.environment = {**clean, **own, **environment}
        self.process: subprocess.Popen | None = None

    def start(self) -> Up:
        _lay_out_built_files(self.local)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.argv, stdout=output, stderr=output, env=self.environment
            )
        self.until(lambda: "· Ctrl-C" in self.text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.text()
        _keep_built_files(self.local)
        return self

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), "up", "--source", self.source]

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
        """Those that run on; one that has ended stays as a zombie until its new parent looks."""
        return [one for one in psutil.wait_procs(processes, timeout=within_s)[1] if _runs(one)]

    def status(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def answer(self, path: str) -> tuple[Message, bytes]:
        """Headers (the proxy sends small letters, and any are found) and body of a page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.headers, answer.read()

    def json(self, path: str):
        return json.loads(self.answer(path)[1])

    def password(self) -> str:
        """The staff login's password, as `up` printed it."""
        return re.search(r"password\s+(\S+)", self.text()).group(1)

    def command(self, *arguments: str) -> str:
        """Run a `manage.py` command beside the running stack, and return what it printed."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment, timeout=60, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait; return how long it took, in seconds."""
        began = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)
        return time.monotonic() - began


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
