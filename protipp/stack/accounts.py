"""The unprivileged account that runs PostgreSQL when we are root, which it refuses to be run as."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from protipp.stack.errors import StackError

CANDIDATES = ("protipp", "postgres", "nobody")
"""The first that exists is taken; nothing is ever added to the machine's accounts."""
ASK_WITHIN_S = 5


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int

    def can_enter(self, path: Path) -> bool:
        """Say whether this account may pass through a folder, or run a file, by trying it."""
        asked = subprocess.run(
            ["test", "-x", str(path)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            timeout=ASK_WITHIN_S,
            check=False,
        )
        return asked.returncode == 0


def server_account(owner_of: Path) -> Account | None:
    """Return who runs the server whose data are in `owner_of`; None means ourselves, not root.

    Data that exist keep their owner, so that an account that is installed later changes nothing.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (uid := owner_of.stat().st_uid) != 0:
        return _account(pwd.getpwuid(uid))
    for name in CANDIDATES:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise StackError(
        f"PostgreSQL does not run as root, and none of the accounts {', '.join(CANDIDATES)} "
        "exists; add one (useradd --system protipp) or set DATABASE_URL to a server of yours."
    )


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
