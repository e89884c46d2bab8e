"""The process of `manage.py balance`: one leads, the others wait; only a stop ends it."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import psycopg
from django.db import DatabaseError, close_old_connections

from performance.balancing import decisions
from performance.balancing.balancer import Balancer
from performance.balancing.conf import conf
from performance.balancing.errors import BalancingError, Fenced
from performance.balancing.executor import Executor, LocalExecutor
from performance.balancing.installing import haproxy_binary, site_in
from performance.balancing.kubernetes import KubernetesExecutor
from performance.core import stores
from performance.core.leader import Leadership

logger = logging.getLogger(__name__)

FOLLOWER_PAUSE_S = 2.0


def run_balancer(directory: Path, stopped: threading.Event) -> None:
    """Lead when nobody else does, and balance until `stopped`; survives all that it talks to.

    While PostgreSQL is away there is no leader, and nothing changes in the proxy: it goes on with
    the nodes that it has, and its own checks.
    """
    troubles = decisions.Troubles()
    leadership = Leadership("balance")
    term: Balancer | None = None
    last: Balancer | None = None  # who led when PostgreSQL went away
    while not stopped.is_set():
        began = time.monotonic()
        pause_s = conf().tick_s
        try:
            term = _lead(leadership, term, directory)
            if term is None:
                pause_s = FOLLOWER_PAUSE_S
                troubles.began("follower", "Another balancer leads; this one waits.")
            else:
                troubles.ended("follower", "This balancer leads now.")
                last = None
                term.tick(leadership.token or 0)
            troubles.ended("database", "PostgreSQL is back; balancing goes on.")
            troubles.ended("error", "Balancing goes on.")
        except (DatabaseError, psycopg.Error) as error:
            troubles.began("database", f"PostgreSQL is away, so nothing is changed: {error}")
            last, term = _without_database(term or last), None
            leadership.release()
        except Fenced as error:
            troubles.began("error", error)
            term = None
            leadership.release()
        except (BalancingError, OSError) as error:
            troubles.began("error", error)
        stopped.wait(max(0.1, pause_s - (time.monotonic() - began)))
    leadership.release()


def _without_database(last: Balancer | None) -> Balancer | None:
    """Let the last leader see to those it set aside; None once somebody else leads."""
    if last is None:
        return None
    try:
        last.without_database()
    except Fenced:
        return None
    return last


def _lead(leadership: Leadership, term: Balancer | None, directory: Path) -> Balancer | None:
    """Return the running term, a new one when the lock was won just now, or None."""
    close_old_connections()
    if term is not None and leadership.still_holds():
        return term
    if not leadership.acquire():
        return None
    executor = _executor()
    logger.info(
        "Leading with token %s; nodes are started and stopped by %s.",
        leadership.token,
        executor.name if executor else "nobody (PROTIPP_SUPERVISOR is not set)",
    )
    return Balancer(
        site_in(directory),
        stores.bus(),
        conf(),
        executor,
        haproxy_binary(),
    )


def _executor() -> Executor | None:
    if conf().executor == "kubernetes":
        return KubernetesExecutor.in_cluster()
    supervisor = os.environ.get("PROTIPP_SUPERVISOR", "")
    return LocalExecutor(Path(supervisor)) if supervisor else None
