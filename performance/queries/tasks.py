from __future__ import annotations

import logging

from celery import shared_task

from performance.queries import services
from performance.queries.errors import StatisticsMissing

logger = logging.getLogger(__name__)


@shared_task(name="performance.queries.take_sample", soft_time_limit=20, expires=50)
def take_sample() -> None:
    """Keep what the costliest statements cost in the last minute; running it twice adds nothing."""
    try:
        services.take_sample()
    except StatisticsMissing as error:
        logger.warning("No history of statements: %s", error)


@shared_task(name="performance.queries.prune_history", soft_time_limit=60)
def prune_history() -> None:
    services.prune_history()
    services.take_sizes()


@shared_task(name="performance.queries.advise_indexes", soft_time_limit=240, expires=60)
def advise_indexes() -> None:
    """Look for missing indexes and keep what was proved for the page; a retry does no harm."""
    try:
        services.advise_for_the_page()
    except StatisticsMissing as error:
        logger.warning("No index advice: %s", error)
