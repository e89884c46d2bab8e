"""Odds' part of the beat timetable. Each is a hint: what must happen is a row in the database."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import OperationalError

from odds import services

logger = logging.getLogger(__name__)


@shared_task(name="odds.deliver_outbox", ignore_result=True, soft_time_limit=20)
def deliver_outbox() -> None:
    """Tell what a killed or cut-off feed could not; costs one statement when nothing waits."""
    told = services.deliver_outbox()
    if told:
        logger.info("Told %d messages that had waited in the outbox", told)


@shared_task(name="odds.refresh_opportunities", ignore_result=True, soft_time_limit=20)
def refresh_opportunities() -> None:
    """Close opportunities whose prices grew too old or whose event began."""
    closed = len(services.refresh_opportunities().closed)
    if closed:
        logger.info("Closed %d opportunities that time had ended", closed)


@shared_task(
    name="odds.maintain",
    ignore_result=True,
    soft_time_limit=60,
    autoretry_for=(OperationalError,),  # somebody held the table longer than we wait
    retry_backoff=True,
    max_retries=3,
)
def maintain() -> None:
    """Make the partitions of the coming days and drop what is too old. Run twice is right."""
    kept = services.maintain()
    logger.info(
        "Made %d partitions, dropped %d, forgot %d refusals",
        len(kept.made),
        len(kept.dropped),
        kept.refusals_deleted,
    )
