"""Runs one source: at least once, through outages of the database, the bus and the source itself.

A source yields batches and remembers nothing; where it goes on is the cursor that was stored in
the last batch's own transaction. So a batch whose COMMIT has an unknown outcome is simply asked
for again from the cursor.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from odds import outbox, refusals
from odds.conf import conf
from odds.errors import FeedRefused, FeedUnavailable
from odds.feeds.parsed import Skipped
from odds.ingest import IngestReport, ingest
from odds.models import FeedCursor
from odds.quotes import Batch
from performance.core import signals

logger = logging.getLogger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
REPORT_EVERY_S = 60.0


class Source(Protocol):
    """Where batches come from."""

    name: str
    """The cursor's key, and what `Batch.source` says."""
    skipped: list[Skipped]
    """What in its answers could not be read; the runner keeps it apart and empties the list."""

    def batches(
        self, cursor: dict[str, Any] | None, wait: Callable[[float], bool]
    ) -> Iterator[Batch]:
        """Yield batches from `cursor` on; None is the beginning.

        `wait(seconds)` sleeps, and returns True when the feed is to end. Raises FeedUnavailable
        for what may pass, FeedRefused for an answer that cannot be taken (it is kept apart and
        the source is asked again), FeedMisconfigured for what only a person can put right.
        """
        ...


@dataclass(slots=True)
class Totals:
    """What one run of a feed has done so far."""

    batches: int = 0
    received: int = 0
    changed: int = 0
    refused: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, report: IngestReport) -> None:
        self.batches += 1
        self.received += report.received
        self.changed += report.inserted + report.changed + report.withdrawn
        self.refused += len(report.refused)

    def line(self) -> str:
        elapsed_s = max(time.monotonic() - self.since, 0.001)
        return (
            f"{self.batches} batches, {self.received} prices ({self.received / elapsed_s:.0f}/s), "
            f"{self.changed} changed ({self.changed / elapsed_s:.0f}/s), {self.refused} refused"
        )


class Runner:
    """One source's loop. `stop` ends it after the batch in hand."""

    def __init__(self, source: Source, *, stop: threading.Event, most: int | None = None) -> None:
        self.source = source
        self.stop = stop
        self.most = most
        """End after this many batches; None goes on until stopped."""
        self.totals = Totals()
        self._minute = Totals()
        self._failures = 0
        self._state = ""

    def run(self) -> Totals:
        """Feed until stopped, or until `most` batches are stored; returns what was done."""
        while not self._done():
            try:
                close_old_connections()
                outbox.deliver()  # what a killed run had stored and not yet told
                self._follow(self._cursor())
                self._keep_skipped()
                return self.totals
            except FeedRefused as error:
                self._turn("refused", str(error))
                self._keep(error)
                self._back_off(None)
            except FeedUnavailable as error:
                self._turn("away", str(error))
                self._back_off(error.retry_after_s)
            except (OperationalError, InterfaceError) as error:
                self._turn("database away", f"PostgreSQL does not take batches: {error}".strip())
                connection.close()
                self._back_off(None)
        return self.totals

    def _follow(self, cursor: dict[str, Any] | None) -> None:
        for batch in self.source.batches(cursor, self.stop.wait):
            report = ingest(batch)
            self._failures = 0
            self._turn("feeding", f"{self.source.name} is feeding")
            self._note(batch, report)
            self._keep_skipped()
            if self._done():
                return

    def _done(self) -> bool:
        return self.stop.is_set() or (self.most is not None and self.totals.batches >= self.most)

    def _cursor(self) -> dict[str, Any] | None:
        row = FeedCursor.objects.filter(pk=self.source.name).first()
        return None if row is None else row.cursor

    def _note(self, batch: Batch, report: IngestReport) -> None:
        self.totals.add(report)
        self._minute.add(report)
        newest = max(
            (quote.last_update for quote in batch.quotes if quote.last_update), default=None
        )
        if newest is not None:
            age_s = max(0.0, (datetime.now(UTC) - newest).total_seconds())
            signals.recorder.gauge("feed_lag_s", self.source.name, age_s)
        if time.monotonic() - self._minute.since >= REPORT_EVERY_S:
            logger.info("%s: %s in the last minute", self.source.name, self._minute.line())
            self._minute = Totals()

    def _keep_skipped(self) -> None:
        skipped, self.source.skipped = self.source.skipped, []
        if skipped:
            most = conf().refused_rows_a_batch
            refusals.keep_skipped(self.source.name, skipped, most=most)
            self.totals.refused += len(skipped)

    def _keep(self, error: FeedRefused) -> None:
        try:
            refusals.keep_answer(self.source.name, error.reason, error.sample)
        except (OperationalError, InterfaceError) as away:
            logger.warning("What was refused could not be kept: %s", away)

    def _turn(self, state: str, message: str) -> None:
        """Log a change of state once, and not each failure of an outage."""
        if state == self._state:
            return
        self._state = state
        logger.log(logging.INFO if state == "feeding" else logging.WARNING, "%s", message)

    def _back_off(self, asked_s: float | None) -> None:
        """Wait longer after each failure, with jitter; as long as the source asked, if it did."""
        delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self.stop.wait(delay_s * random.uniform(0.5, 1.0) if asked_s is None else asked_s)
