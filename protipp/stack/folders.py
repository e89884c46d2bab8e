"""Folders of ours: made with the mode they need; those that are there already are never changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from protipp.stack.accounts import Account
from protipp.stack.errors import StackError

LONGEST_SOCKET_PATH = 90  # bytes; the kernel allows 107, and HAProxy adds a suffix while it binds
LONGEST_SOCKET_NAME = 15


def own_folder(folder: Path, account: Account | None = None) -> Path:
    """Make `folder` for its account alone (0700), and those above it if they are missing."""
    try:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            if account is not None:
                os.chown(folder, account.uid, account.gid)
    except OSError as error:
        raise StackError(
            f"{folder} cannot be made ({error.strerror}); set PROTIPP_LOCAL_DIR to a folder "
            "that can be written."
        ) from error
    return folder


def socket_folder(base: Path, name: str, account: Account | None = None) -> Path:
    """Return `base/name`, or where that is too long for a Unix socket, a short folder instead."""
    wanted = base / name
    if len(os.fsencode(wanted)) + 1 + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH:
        return own_folder(wanted, account)
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    short = own_folder(Path(tempfile.gettempdir()) / f"protipp-{digest}", account)
    owner = account.uid if account is not None else os.geteuid()
    found = short.lstat()
    if found.st_uid != owner or short.is_symlink() or found.st_mode & 0o077:
        raise StackError(
            f"{short} is not ours alone, and {wanted} is too long for a socket; set "
            "PROTIPP_LOCAL_DIR to a shorter path."
        )
    return short


def kept_secret(path: Path, make: str) -> str:
    """Return the secret in `path` (0600), which is `make` when there is none yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(make + "\n")
    return make


def write_private(path: Path, text: str) -> None:
    """Put `text` into `path` (0600), whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
