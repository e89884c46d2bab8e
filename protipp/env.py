"""The environment, read once and typed; a value that cannot be used is refused by name.

Where a server's URL is not set, the running local stack's own is used: `manage.py up` leaves it
in `.local/stack.json`. So `manage.py import_odds` beside a running `make run` needs no settings.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = Path(os.environ.get("PROTIPP_LOCAL_DIR") or BASE_DIR / ".local")
STACK_FILE = LOCAL_DIR / "stack.json"


def text(name: str, default: str = "") -> str:
    """Return the variable `name`, else what the local stack wrote, else `default`."""
    return os.environ.get(name) or _stack().get(name) or default


def flag(name: str, default: bool = False) -> bool:
    value = text(name).strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of: 1, 0, true, false.")


def number(name: str, default: int, *, minimum: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    if not value.isdigit() or int(value) < minimum:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number from {minimum} up.")
    return int(value)


def items(name: str, default: str = "") -> list[str]:
    """Return a comma-separated variable as a list."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def sections(name: str, known: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return `known` with what the variable `name` says laid over it, option by option.

    It is JSON as settings.PERFORMANCE is: `{"BALANCING": {"max_web": 8}}`. What an option may be
    is checked where its section is read.
    """
    value = text(name)
    if not value:
        return dict(known)
    try:
        given = json.loads(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is no JSON: {error}.") from None
    if not isinstance(given, dict) or not all(isinstance(part, dict) for part in given.values()):
        raise ImproperlyConfigured(
            f'{name} must be an object of sections, such as {{"BALANCING": {{"max_web": 8}}}}.'
        )
    lists = {
        section: {
            option: tuple(found) if isinstance(found, list) else found
            for option, found in part.items()
        }
        for section, part in given.items()
    }
    return {
        section: {**known.get(section, {}), **lists.get(section, {})}
        for section in [*known, *(lists.keys() - known.keys())]
    }


def is_running() -> bool:
    """Say whether a stack, or a command with servers of its own, holds this tree now.

    The kernel's lock answers, so a killed one's `stack.json` leads nobody to dead servers.
    """
    try:
        with (LOCAL_DIR / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return STACK_FILE.exists()
    return False


@functools.cache
def _stack() -> dict[str, str]:
    """Return what the local stack wrote down; asked once a process, when settings are read."""
    if not is_running():
        return {}
    try:
        found = json.loads(STACK_FILE.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(name): str(value) for name, value in found.get("environment", {}).items()}
