"""Which code runs: a name that changes when the code does, for deploy marks and drains."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

GIT_WITHIN_S = 3
PARTS = ("manage.py", "performance", "odds", "protipp", "templates", "static")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


def name(root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return PROTIPP_BUILD when it is set, else git's description, else a hash of the files.

    Uncommitted changes count: they run too. Without git, and in an image, the files themselves
    tell; a thousand small ones take about 30 ms.
    """
    given = environment.get("PROTIPP_BUILD", "")
    if _NAME.fullmatch(given):
        return given
    described = _git(root, "describe", "--always", "--tags", "--abbrev=10")
    if not _NAME.fullmatch(described):
        return f"files-{_hash_of_files(root)}"
    changed = _git(root, "diff", "HEAD", "--", *PARTS)
    if not changed:
        return described
    return f"{described[:32]}-{hashlib.sha256(changed.encode()).hexdigest()[:6]}"


def _git(root: Path, *arguments: str) -> str:
    """Return what git says of exactly this tree; "" without git or outside of a checkout."""
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, errors="replace", timeout=GIT_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _hash_of_files(root: Path) -> str:
    digest = hashlib.sha256()
    for part in PARTS:
        top = root / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(root)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
