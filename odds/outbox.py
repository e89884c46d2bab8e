"""Tells caches and sockets what a batch changed: at least once, in the order of the batches.

A row is deleted only when both were told, so a process killed between the two tells again: to
invalidate twice costs a miss, and a message has its number. `ingest` calls `deliver` after COMMIT;
a task every 5 s and every feed's start call it too, for what was left.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import redis
from django.db import connection

from odds import failpoints
from odds.conf import conf
from odds.models import OutboxMessage
from performance.caching.services import cache
from performance.core import stores

logger = logging.getLogger(__name__)

LOCK = 0x0DD5_0002
"""Advisory, of the session: one process delivers at a time, which keeps the order."""
WAIT_S = 1.0
OVERDUE_S = 10.0
"""A message older than this is told without the lock: whoever holds it sleeps. Order yields to
delivery, and the numbers of the messages show it."""
ROWS_A_TURN = 100


def deliver() -> int:
    """Tell what is in the outbox, oldest first; returns how many messages were told.

    Never raises for a cache or bus that is away: the rows stay, and the next call tells them.
    Waits at most a second for another process that is delivering.
    """
    if _waiting() == 0:
        return 0
    if not _lock():
        return _tell_all() if _overdue() else 0
    try:
        return _tell_all()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT FROM odds_outboxmessage LIMIT 1) AS waiting")
        return int(cursor.fetchone()[0])


def _lock() -> bool:
    deadline = time.monotonic() + WAIT_S
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)


def _overdue() -> bool:
    oldest = OutboxMessage.objects.order_by("id").values_list("created_at", flat=True).first()
    return oldest is not None and (datetime.now(UTC) - oldest).total_seconds() > OVERDUE_S


def _tell_all() -> int:
    told = 0
    while rows := _oldest():
        for id, tags, message in rows:
            failpoints.reach("before_deliver")
            if not _tell(id, tags, message):
                return told
            failpoints.reach("before_forget")
            OutboxMessage.objects.filter(pk=id).delete()
            told += 1
    return told


def _oldest() -> list[tuple[int, list[str], str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, ARRAY(SELECT jsonb_array_elements_text(tags)), message::text "
            "FROM odds_outboxmessage ORDER BY id LIMIT %s",
            [ROWS_A_TURN],
        )
        rows: list[tuple[int, list[str], str]] = cursor.fetchall()
        return rows


def _tell(id: int, tags: list[str], message: str) -> bool:
    """Invalidate first: who hears of the change and reads again must not get the old answer."""
    if not cache.invalidate(*tags):
        return False
    failpoints.reach("between_tellings")
    try:
        stores.bus().publish(conf().channel, f'{{"id": {id}, {message[1:]}')
    except redis.RedisError as error:
        logger.warning("The bus does not take message %d now: %s", id, error)
        return False
    return True
