"""Take a batch into the database: what changed, its history, what it allows, what must be told.

One transaction a batch, and everything in it: killed anywhere, either all of it is there with its
outbox row and the feed's cursor, or nothing of it and the feed sends it again. Sent again, it
changes nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from odds import (
    failpoints,
    ingest_keys,
    ingest_new,
    ingest_sql,
    openings,
    outbox,
    partitions,
    refusals,
    sheets,
)
from odds.conf import OddsConf, conf
from odds.ingest_keys import Keys
from odds.ingest_outcome import NOTHING, Outcome
from odds.quote_checks import Checked, Refusal, check
from odds.quotes import Batch
from performance.core import signals


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a batch's quotes; `inserted` to `refused` add up to `received`."""

    received: int
    """Quotes and withdrawals that came."""
    inserted: int = 0
    changed: int = 0
    withdrawn: int = 0
    """No longer offered: off the board, with the time in history."""
    unchanged: int = 0
    """Confirmed as they were."""
    late: int = 0
    """Older than what is stored, so left out."""
    refused: list[Refusal] = field(default_factory=list)
    clamped: int = 0
    """Taken, but with a `last_update` in the future, which was set to now."""
    events: int = 0
    """Events that the batch was about."""
    outbox_id: int | None = None
    """The number of its broadcast; None when nothing changed."""


def ingest(batch: Batch, *, now: datetime | None = None) -> IngestReport:
    """Store `batch` and tell caches and sockets what changed.

    Takes the same number of statements for 1 quote and for 50,000. Quotes that cannot be taken
    are kept as RefusedQuote rows and never stop the others. Telling comes after COMMIT, and
    failing to tell never fails the batch: `outbox.deliver` tells again. `now` is for tests.

    Raises django.db.Error when the database cannot take the batch; then nothing of it is stored.
    """
    started = time.perf_counter()
    at = now or datetime.now(UTC)
    options = conf()
    checked = check(batch, now=at, conf=options)
    partitions.make_sure_of(at)
    with transaction.atomic():
        report = _store(batch, checked, at, options)
        failpoints.reach("before_commit")
    signals.recorder.observe("ingest", batch.source, time.perf_counter() - started)
    signals.recorder.count("ingest_prices", batch.source, report.received)
    return report


def _store(batch: Batch, checked: Checked, at: datetime, options: OddsConf) -> IngestReport:
    with connection.cursor() as cursor:
        cursor.execute(ingest_sql.PLAN_FOR_THIS_BATCH)
        keys = ingest_keys.prepare(cursor, batch, checked)
        refused = checked.refused + keys.refused
        done = _write(cursor, keys, at, options)
        failpoints.reach("after_merge")
        _keep_sheets(cursor, keys, at)
        moved = openings.recompute(done.touched, at=at)
        outbox_id = None
        if done.inserted or done.changed or done.withdrawn or moved:
            outbox_id = _remember_to_tell(cursor, batch, keys, done, moved, at)
        refusals.keep(batch.source, refused, most=options.refused_rows_a_batch)
        if batch.cursor is not None:
            cursor.execute(ingest_sql.KEEP_CURSOR, [batch.source, json.dumps(batch.cursor)])
    if outbox_id is not None:
        # robust: whatever goes wrong in telling, the batch stands and the row is told again.
        transaction.on_commit(_tell, robust=True)
    return IngestReport(
        received=len(batch.quotes) + len(batch.withdrawn),
        inserted=done.inserted,
        changed=done.changed,
        withdrawn=done.withdrawn,
        unchanged=done.unchanged,
        late=done.late,
        refused=refused,
        clamped=checked.clamped,
        events=len(keys.events),
        outbox_id=outbox_id,
    )


def _tell() -> None:
    failpoints.reach("after_commit")
    outbox.deliver()


def _write(cursor: Any, keys: Keys, at: datetime, options: OddsConf) -> Outcome:
    """Store the quotes: by the merge, and the mass of new events' by COPY alone.

    A few of new events go through the merge too, which can say what changed.
    """
    quotes = [quote for quote in keys.quotes if quote.event_key in keys.new]
    if len(quotes) <= options.max_changes_a_message:
        return _merge(cursor, keys, at, options.max_changes_a_message)
    withdrawn = [quote for quote in keys.withdrawn if quote.event_key in keys.new]
    of_new = ingest_new.store(cursor, keys, quotes, withdrawn, at)
    others = keys._replace(
        quotes=[quote for quote in keys.quotes if quote.event_key not in keys.new],
        withdrawn=[quote for quote in keys.withdrawn if quote.event_key not in keys.new],
    )
    return of_new + _merge(cursor, others, at, options.max_changes_a_message)


def _merge(cursor: Any, keys: Keys, at: datetime, most_changes: int) -> Outcome:
    if not keys.quotes and not keys.withdrawn:
        return NOTHING
    cursor.execute(ingest_sql.CREATE_INCOMING)
    if len(connection.savepoint_ids) > 0:  # inside a caller's transaction: an earlier batch's
        cursor.execute(ingest_sql.EMPTY_INCOMING)
    repeated = ingest_keys.copy(cursor, keys)
    failpoints.reach("after_copy")
    merge = ingest_sql.MERGE_REPEATED if repeated else ingest_sql.MERGE_ONCE
    about = [event.id for event in keys.events.values()]
    cursor.execute(merge, {"at": at, "most_changes": most_changes, "events": about})
    *counts, pairs, changes = cursor.fetchone()
    touched: dict[int, set[str]] = {}
    for pair in json.loads(pairs):
        touched.setdefault(pair["event_id"], set()).add(pair["market"])
    inserted, changed, withdrawn, unchanged, late = counts
    return Outcome(
        inserted=inserted,
        changed=changed,
        withdrawn=withdrawn,
        unchanged=unchanged,
        late=late,
        touched=touched,
        changes=changes,
    )


def _keep_sheets(cursor: Any, keys: Keys, at: datetime) -> None:
    """Write the sheets of the markets that this batch is about, of the events that boards show.

    Those too that it only confirmed: a board says when. What was refused or came too late costs
    time and nothing else.
    """
    over = {key for key, event in keys.events.items() if sheets.is_over(event.commence_time, at=at)}
    ids = {key: event.id for key, event in keys.events.items() if key not in over}
    markets = {
        (ids[quote.event_key], quote.market)
        for quotes in (keys.quotes, keys.withdrawn)
        for quote in quotes
        if quote.event_key in ids
    }
    sheets.keep(cursor, markets, over=[keys.events[key].id for key in over - keys.new])


def _remember_to_tell(
    cursor: Any,
    batch: Batch,
    keys: Keys,
    done: Outcome,
    moved: openings.Moves,
    at: datetime,
) -> int:
    """Write the outbox row."""
    told = [event for event in keys.events.values() if event.id in done.touched]
    sports = sorted({event.sport_id for event in told})
    tags = [f"sport:{sport}" for sport in sports] + sorted(f"event:{e.key}" for e in told)
    message: dict[str, Any] = {"source": batch.source, "at": at.isoformat()}
    if moved:
        tags.append("arbitrage")
    if done.changes is None:
        message["resync"] = sports
    message["opportunities"] = moved.as_message()
    text = json.dumps(message)
    if done.changes is not None:
        text = f'{text[:-1]}, "changes": {done.changes}}}'
    cursor.execute(ingest_sql.KEEP_MESSAGE, [json.dumps(tags), text])
    outbox_id: int = cursor.fetchone()[0]
    return outbox_id
