"""The process `manage.py monitor`: stand by until this one leads, then roll until it does not.

Of any number of these processes one leads, by an advisory lock in PostgreSQL; another takes over
within a few seconds of its death. Neither server's absence ends it.
"""

from __future__ import annotations

import logging
import threading
import time

import psycopg
import redis
from django.db import DatabaseError, connection

from performance.core import signals
from performance.core.leader import Leadership
from performance.monitoring import alerting, delivery, live, rollups
from performance.monitoring.errors import Superseded
from performance.monitoring.keeping import Keeper
from performance.monitoring.pushing import Pusher
from performance.monitoring.roller import Roller

logger = logging.getLogger(__name__)

STANDBY_S = 1.0
AFTER_THE_SECOND_S = 0.15
"""Samples are sent on the whole second; by then they are here."""
WELL = "Merging each second."
LATE_S = 3.0
"""Being this far behind is worth a line."""
KEEPER_STOPS_S = 3.0


class Monitor:
    """`run` returns when `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.leads = threading.Event()
        """Set while this process is the one that counts."""
        self._said = ""

    def run(self) -> None:
        while not self.stop.is_set():
            with Leadership("monitor") as leadership:
                if self._win(leadership):
                    self.leads.set()
                    self._lead(leadership)
                    self.leads.clear()
            self.stop.wait(STANDBY_S)

    def _win(self, leadership: Leadership) -> bool:
        try:
            won = leadership.acquire()
        except (psycopg.Error, DatabaseError) as error:
            self._say(f"PostgreSQL is away ({str(error).strip()}); nobody can begin to lead.")
            return False
        self._say(WELL if won else "Standing by: another monitor leads.", level=logging.INFO)
        return won

    def _lead(self, leadership: Leadership) -> None:
        """Roll until stopped or superseded. What is not saved then is read again by the next."""
        watch = alerting.Watch()
        try:
            minutes_id = rollups.state().last_id
            watch.load(now_s=alerting.monotonic_s())
        except DatabaseError as error:
            self._say(f"PostgreSQL went away ({str(error).strip()}); beginning again.")
            return
        finally:
            connection.close()  # the keeper's thread has one of its own
        roller = Roller(watch, minutes_id=minutes_id)
        keeper = Keeper(roller, watch, minutes_id=minutes_id, leadership=leadership)
        done = threading.Event()
        threads = [
            threading.Thread(target=keeper.run, args=[done], name="keeper", daemon=True),
            threading.Thread(target=delivery.run, args=[done], name="deliverer", daemon=True),
        ]
        for thread in threads:
            thread.start()
        pusher = Pusher()
        try:
            self._roll(roller, keeper, pusher)
        finally:
            done.set()
            pusher.close()
            for thread in threads:
                thread.join(KEEPER_STOPS_S)

    def _roll(self, roller: Roller, keeper: Keeper, pusher: Pusher) -> None:
        resumed = False
        while not self.stop.wait(_until_next()) and not keeper.superseded.is_set():
            try:
                if not resumed:
                    roller.resume()
                    resumed = True
                signals.recorder.gauge("queue", "celery", live.queue_depth())
                roller.tick()
                pusher.push()
            except redis.RedisError as error:
                self._say(f"The bus is away ({error}); the seconds wait where they are.")
                continue
            except Superseded as error:
                # The lock tells who leads; with it we read anew where the records end.
                logger.warning("%s", error)
                return
            behind_s = time.time() - roller.at_s
            if roller.sequence and behind_s > LATE_S:
                self._say("No samples arrive, or the monitor cannot keep up with them.")
            else:
                self._say(WELL, level=logging.INFO)

    def _say(self, line: str, *, level: int = logging.WARNING) -> None:
        """Log a change of state once, however long it lasts."""
        if line != self._said:
            self._said = line
            logger.log(level, "%s", line)


def _until_next() -> float:
    """Seconds until shortly after the next whole second of the wall clock."""
    return 1.0 - (time.time() - AFTER_THE_SECOND_S) % 1.0
