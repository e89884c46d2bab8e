"""Which replicas may be read now: one thread a process asks each of them twice a second.

How far one is behind is told by the log: where the primary stood at an instant, and where the
replica stands now. The replica's own clock says nothing once its primary is gone.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from performance.queries.conf import conf
from performance.queries.watchdog import GuardedConnection

PREFIX = "replica"
EVERY_S = 0.4
ASK_WITHIN_S = 0.8
"""Both together, and the longest wait for a turn, stay below 2 s."""
REMEMBERED = 600


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one replica; `lag_s` is None before it was asked and while it is away."""

    alias: str
    usable: bool
    lag_s: float | None
    why: str
    """Why it is left out; empty while it is used."""


def aliases() -> list[str]:
    """Return the aliases of DATABASES that are replicas: `replica1`, `replica2` …"""
    return sorted(alias for alias in connections.settings if alias.startswith(PREFIX))


class Watch:
    """Asks replicas and primary, each by a connection of its own, and keeps what they said."""

    def __init__(
        self, names: Iterable[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pid = os.getpid()
        self.names = list(names)
        self.clock = clock
        self.health = {name: Health(name, False, None, "not asked yet") for name in self.names}
        self.stopping = threading.Event()
        self._primary: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)
        self._links: dict[str, psycopg.Connection[Any]] = {}
        self._threads = [
            threading.Thread(target=self._ask_on_and_on, args=(name,), daemon=True, name=name)
            for name in (DEFAULT_DB_ALIAS, *self.names)
        ]

    def start(self) -> Watch:
        """Ask each once, so that the first reader knows, then go on in threads."""
        for name in (DEFAULT_DB_ALIAS, *self.names):
            self.ask(name)
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * ASK_WITHIN_S)
        for name in list(self._links):
            self._hang_up(name)

    def usable(self) -> list[str]:
        return [name for name in self.names if self.health[name].usable]

    def leave_out(self, alias: str, why: str) -> None:
        """Take it out at once: a reader has just met its failure. The next answer decides anew."""
        self.health[alias] = Health(alias, False, None, why)

    def _ask_on_and_on(self, name: str) -> None:
        while not self.stopping.wait(EVERY_S):
            self.ask(name)

    def ask(self, name: str) -> None:
        """Ask one server where it stands in the log."""
        try:
            link = self._link(name)
            row = link.execute(
                "SELECT pg_is_in_recovery(), (CASE WHEN pg_is_in_recovery() "
                "THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::bigint"
            ).fetchone()
            assert row is not None
        except psycopg.Error as error:
            self._hang_up(name)
            if name != DEFAULT_DB_ALIAS:
                self.leave_out(name, f"it does not answer: {str(error).splitlines()[0]}")
            return
        replica, place = row
        if name == DEFAULT_DB_ALIAS:
            self._primary.append((self.clock(), place))
        elif not replica:
            self.leave_out(name, "it is no replica (any more); it may have been promoted")
        else:
            self.health[name] = self._judge(name, place)

    def _judge(self, name: str, place: int) -> Health:
        lag_s = self._lag_s(place)
        if lag_s > conf().replica_lag_s:
            return Health(name, False, lag_s, f"it is {lag_s:.1f} s behind")
        return Health(name, True, lag_s, "")

    def _lag_s(self, place: int) -> float:
        """Return for how long the primary has been ahead of `place`; 0 when it is not.

        While the primary is away nothing moves on, and what replicas have is the newest there is.
        """
        ahead = [at for at, stood in list(self._primary) if stood > place]
        return self.clock() - ahead[0] if ahead else 0.0

    def _link(self, name: str) -> psycopg.Connection[Any]:
        link = self._links.get(name)
        if link is None or link.closed:
            parameters = connections[name].get_connection_params()
            names = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert")
            link = GuardedConnection.connect(
                **{key: parameters[key] for key in names if parameters.get(key)},
                application_name="protipp replica watch",
                connect_timeout=2,
                autocommit=True,
            )
            link.limit_s = ASK_WITHIN_S
            self._links[name] = link
        return link

    def _hang_up(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            with suppress(psycopg.Error):
                link.close()


_watch: Watch | None = None
_lock = threading.Lock()


def watch() -> Watch | None:
    """Return this process's watch, started at the first call; None without replicas."""
    global _watch
    if _watch is not None and _watch.pid == os.getpid():
        return _watch
    names = aliases()
    if not names:
        return None
    with _lock:
        if _watch is None or _watch.pid != os.getpid():  # a fork has none of our threads
            _watch = Watch(names).start()
        return _watch


def stop() -> None:
    """End the watch; the next reader starts another."""
    global _watch
    with _lock:
        if _watch is not None and _watch.pid == os.getpid():
            _watch.stop()
        _watch = None


def choose() -> str | None:
    """Return a usable replica, by chance; None when there is none."""
    found = watch()
    usable = found.usable() if found else []
    return random.choice(usable) if usable else None
