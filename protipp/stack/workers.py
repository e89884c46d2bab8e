"""The processes behind the site: Celery's worker and beat, and our own long-lived commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from protipp import env
from protipp.stack import priority
from protipp.stack.nodes import PROGRAMS
from protipp.stack.processes import Spec

AS_ROOT = "You're running the worker with superuser privileges"
"""How Celery's warning to root begins."""


def specs(source: str, local: Path, environment: Mapping[str, str]) -> list[Spec]:
    """Return all of them; `source` names the feed, and none leaves it out."""
    celery = (str(PROGRAMS / "celery"), "--quiet", "-A", "protipp")
    quick = ("--concurrency", "2", "--without-gossip", "--without-mingle")
    # Whoever runs the stack as root, as containers do, has chosen it: five lines of it at each
    # start would hide the address and the login.
    calm = {**environment, "PYTHONWARNINGS": f"ignore:{AS_ROOT}"}
    schedule = ("--schedule", str(local / "celerybeat-schedule"), "--pidfile=")
    found = [
        replace(
            _spec("worker", (*celery, "worker", "-l", "INFO", "-n", "worker@%h", *quick), calm),
            ready_line=" ready.",
            ready_within_s=60.0,
        ),
        _spec("beat", (*celery, "beat", "-l", "WARNING", *schedule), environment),
        # These two see that something is wrong, which is when processors are short.
        replace(_spec("monitor", _manage("monitor"), environment), nice=priority.NODES),
        replace(_spec("balance", _manage("balance"), environment), nice=priority.NODES),
    ]
    if source != "none":
        found.append(_spec("feed", _manage("feed", "--source", source), environment))
    return found


def _manage(*words: str) -> tuple[str, ...]:
    return (sys.executable, "manage.py", *words)


def _spec(name: str, argv: tuple[str, ...], environment: Mapping[str, str]) -> Spec:
    return Spec(
        name=name,
        argv=argv,
        environment={**environment, "PROTIPP_PROCESS": name, "PROTIPP_NODE_ID": name},
        cwd=env.BASE_DIR,
        nice=priority.BEHIND,
    )
