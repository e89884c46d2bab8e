from __future__ import annotations

import logging

from celery import shared_task

from performance.cdn import services

logger = logging.getLogger(__name__)


@shared_task(name="performance.cdn.deliver_purges", soft_time_limit=60, expires=30)
def deliver_purges() -> None:
    """Send the purges that an edge did not take at first; safe to run twice and at once."""
    sent, failed = services.manager.deliver()
    if sent or failed:
        logger.info("Delivered %d purges, %d are to be tried again", sent, failed)


@shared_task(name="performance.cdn.probe", soft_time_limit=10, expires=5)
def probe() -> None:
    """Ask the edge how it is, and switch URLs to the origin or back."""
    services.probe()


@shared_task(name="performance.cdn.count", soft_time_limit=10, expires=10)
def count() -> None:
    """Keep the edge's own counters, for the hit ratio on its page."""
    services.count()


@shared_task(name="performance.cdn.prune_ledger", soft_time_limit=60)
def prune_ledger() -> None:
    services.prune_ledger()
