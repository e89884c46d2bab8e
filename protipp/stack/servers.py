"""The servers alone, without the site: for the tests, and for a command on a fresh clone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from protipp.stack import postgres, valkey
from protipp.stack.processes import Spec, end, start

STOP_WITHIN_S = 4.0
SETTINGS = ("DATABASE_URL", "CACHE_URL", "REDIS_URL")


class Servers:
    """PostgreSQL and two Valkeys below `local`, but none that `given` names already.

    `start` returns the settings that point at them. Both ways out end them: `stop`, and the
    death of this process, however it comes.
    """

    def __init__(
        self, local: Path, *, durable: bool, given: Mapping[str, str] = os.environ
    ) -> None:
        self.local = local
        self.durable = durable
        self.missing = [setting for setting in SETTINGS if not given.get(setting)]
        self.folders = [local]
        """Where data were put; more than `local` when PostgreSQL's account may not enter that."""
        self._running: list[tuple[Spec, subprocess.Popen[bytes]]] = []

    def start(self) -> dict[str, str]:
        """Start what is missing and return its settings; StackError leaves nothing running."""
        self.local.mkdir(parents=True, exist_ok=True)
        environment: dict[str, str] = {}
        try:
            if "DATABASE_URL" in self.missing:
                cluster = postgres.prepare(self.local, durable=self.durable)
                self.folders += {cluster.data.parent, cluster.sockets} - {self.local}
                self._start(postgres.spec(cluster))
                postgres.ensure_database(cluster)
                environment["DATABASE_URL"] = cluster.url
            for setting, make in (("CACHE_URL", valkey.cache), ("REDIS_URL", valkey.bus)):
                if setting in self.missing:
                    server = make(self.local)
                    self._start(valkey.spec(server))
                    environment[setting] = server.url
        except BaseException:
            self.stop()
            raise
        return environment

    def _start(self, spec: Spec) -> None:
        self._running.append((spec, start(spec, self.local / f"{spec.name}.log")))

    def stop(self) -> None:
        for spec, process in reversed(self._running):
            end(process, spec.stop_signal, within_s=STOP_WITHIN_S)
        self._running.clear()
