"""What the monitor does with PostgreSQL, in a thread of its own: it may wait, the pages may not.

Each round is a few short transactions. When the server is away the round is given up with one log
line, everything stays queued, and the next round tries again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from performance.core.leader import Leadership
from performance.monitoring import alerting, rollups, telling
from performance.monitoring.errors import Superseded
from performance.monitoring.models import Deploy
from performance.monitoring.roller import Roller

logger = logging.getLogger(__name__)

ROUND_S = 1.0
RULES_EVERY_S = 5.0
UNTOLD_EVERY_S = 5.0
REMIND_EVERY_S = 30.0
HOURS_EVERY_S = 60.0
PRUNE_EVERY_S = 3600.0


class Keeper:
    """Saves one roller's minutes and one watch's changes, and queues what is to be told."""

    def __init__(
        self,
        roller: Roller,
        watch: alerting.Watch,
        *,
        minutes_id: str,
        leadership: Leadership | None = None,
    ) -> None:
        self.leadership = leadership
        self.roller = roller
        self.watch = watch
        self.superseded = threading.Event()
        """Set when another monitor has written our minute: we no longer lead."""
        self._minutes_id = minutes_id
        self._stored = rollups.BEGINNING
        self._due: dict[str, float] = {}
        self._away = False
        self._builds: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(ROUND_S) and not self.superseded.is_set():
            self.round()
        connection.close()  # this thread's own: a monitor that loses the lead may win it again

    def round(self) -> bool:
        """Do what is due; False when PostgreSQL did not let us."""
        close_old_connections()
        try:
            self._check_leadership()
            self._every("rules", RULES_EVERY_S, self._load_rules)
            self.watch.save()
            self.save_minutes()
            self._every("hours", HOURS_EVERY_S, self._write_hours)
            self._every("prune", PRUNE_EVERY_S, self._prune)
            self._every("builds", RULES_EVERY_S, self._note_builds)
            self._every("untold", UNTOLD_EVERY_S, telling.catch_up)
            self._every("reminders", REMIND_EVERY_S, telling.remind)
        except Superseded as error:
            logger.warning("%s", error)
            self.superseded.set()
            return False
        except (DatabaseError, psycopg.Error) as error:
            if not self._away:
                logger.warning("PostgreSQL keeps nothing (%s); minutes and alerts wait.", error)
            self._away = True
            return False
        if self._away:
            logger.warning("PostgreSQL keeps minutes and alerts again.")
        self._away = False
        return True

    def _check_leadership(self) -> None:
        """Take the lock back when its connection broke; raises Superseded when another has it.

        While PostgreSQL is away nobody can take it, so we lead on: the numbers of the seconds and
        the state of the minutes refuse whoever comes second.
        """
        if self.leadership is None or self.leadership.still_holds():
            return
        if not self.leadership.acquire():
            raise Superseded("its lock")

    def save_minutes(self) -> int:
        """Write the finished minutes, oldest first; one that fails stays with those after it."""
        saved = 0
        while self.roller.minutes:
            minute = self.roller.minutes[0]
            try:
                self._stored = rollups.write_minute(
                    minute, expected_id=self._minutes_id, newest=self._newest()
                )
            except Superseded:
                # Unless it was us: a COMMIT whose answer was lost with the connection.
                if rollups.state().last_id != minute.last_id:
                    raise
                self._stored = rollups.BEGINNING
            self._minutes_id = minute.last_id
            if self.roller.minutes and self.roller.minutes[0] is minute:
                self.roller.minutes.popleft()
            saved += 1
        return saved

    def _newest(self) -> datetime:
        if self._stored == rollups.BEGINNING:
            self._stored = rollups.state().minute
        return self._stored

    def _load_rules(self) -> None:
        self.watch.load(now_s=alerting.monotonic_s())

    def _write_hours(self) -> None:
        rollups.write_hours(self._newest())

    def _note_builds(self) -> None:
        for build, at_s in list(self.roller.merger.builds.items()):
            if build not in self._builds:
                at = datetime.fromtimestamp(at_s, UTC)
                Deploy.objects.get_or_create(build=build, defaults={"at": at})
                self._builds.add(build)

    def _prune(self) -> None:
        for name in rollups.prune(datetime.now(UTC)):
            logger.info("Dropped %s: older than what is kept.", name)

    def _every(self, name: str, period_s: float, act: Callable[[], object]) -> None:
        if time.monotonic() >= self._due.get(name, 0.0):
            act()
            self._due[name] = time.monotonic() + period_s
