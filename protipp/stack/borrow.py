"""Servers for one command when nobody runs any: `manage.py import_odds` works on a fresh clone.

They live as long as the command. A second command meanwhile uses the first one's, and the first
waits for it at its end. Beside a running `manage.py up`, commands use the servers of that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from protipp import env
from protipp.stack.errors import StackError
from protipp.stack.servers import SETTINGS, Servers
from protipp.stack.tree import Tree

NEED_NONE = frozenset(
    {"up", "help", "version", "check", "test", "diffsettings", "makemigrations", "makemessages"}
    | {
        "check_static",
        "compilemessages",
        "collectstatic",
        "findstatic",
        "publish_static",
        "startapp",
    }
)
OTHER_STARTS_WITHIN_S = 60
MIGRATE_WITHIN_S = 300


@contextlib.contextmanager
def servers_for(argv: Sequence[str]) -> Iterator[None]:
    """Have servers while the block runs, if the command of `argv` needs any that are not there.

    Raises StackError when they do not start.
    """
    if not needs_servers(argv):
        yield
        return
    with _counted_in() as users:
        tree = Tree(env.LOCAL_DIR.resolve())
        if not _take_unless_running(tree, f"manage.py {argv[1]}"):
            yield
            return
        tree.end_leftovers()
        servers = Servers(tree.local, durable=True)
        try:
            environment = servers.start()
            os.environ |= environment
            if argv[1] != "migrate":
                _migrate()
            tree.publish(None, environment)
            yield
        finally:
            tree.withdraw()
            _wait_for_others(users)
            servers.stop()


def _take_unless_running(tree: Tree, what: str) -> bool:
    """Return True when the tree is ours now, False once somebody else's servers are there."""
    deadline = time.monotonic() + OTHER_STARTS_WITHIN_S
    while not env.is_running():
        try:
            tree.take(what)
        except StackError:  # somebody is about to start them, or to end
            if time.monotonic() > deadline:
                raise
        else:
            return True
    return False


def needs_servers(argv: Sequence[str]) -> bool:
    """Say whether a command line wants servers that nobody named and no stack gives.

    >>> needs_servers(["manage.py", "check"]), needs_servers(["manage.py", "feed", "--help"])
    (False, False)
    """
    if len(argv) < 2 or argv[1].startswith("-") or argv[1] in NEED_NONE:
        return False
    if {"--help", "-h"} & set(argv) or (argv[1] == "import_odds" and "--dry-run" in argv):
        return False
    return not all(os.environ.get(name) for name in SETTINGS)


@contextlib.contextmanager
def _counted_in() -> Iterator[int]:
    """Be known as a user of this tree's servers while the block runs."""
    env.LOCAL_DIR.mkdir(parents=True, exist_ok=True)
    users = os.open(env.LOCAL_DIR / "users", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield users
    finally:
        os.close(users)


def _wait_for_others(users: int) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write("Another command still uses the servers; waiting for it to end.\n")
        fcntl.flock(users, fcntl.LOCK_EX)


def _migrate() -> None:
    """In a process of its own: ours has not loaded Django yet, and must load it only once."""
    migrated = subprocess.run(
        [
            sys.executable,
            str(env.BASE_DIR / "manage.py"),
            *["migrate", "--verbosity=0", "--noinput", "--skip-checks"],
        ],
        timeout=MIGRATE_WITHIN_S,
        capture_output=True,
        text=True,
        check=False,
    )
    if migrated.returncode != 0:
        said = (migrated.stderr or migrated.stdout).strip().splitlines() or ["it said nothing"]
        raise StackError(f"manage.py migrate failed: {said[-1]}")
