from __future__ import annotations

import logging

import redis
from celery import shared_task

from performance.caching import services
from performance.caching.conf import conf
from performance.caching.services import cache

logger = logging.getLogger(__name__)

WARM_LIMIT = 20


@shared_task(name="performance.caching.warm", ignore_result=True, soft_time_limit=20, expires=5)
def warm() -> None:
    """Refresh what families want warm, is read, and ends soon; twice at once only costs time."""
    planned = services.in_use(cache.warming_plan(limit=WARM_LIMIT), within_s=conf().warm_idle_s)
    outcomes = list(cache.warm(planned))
    for outcome in outcomes:
        if outcome.error:
            logger.warning("%s was not warmed: %s", outcome.key, outcome.error)


@shared_task(name="performance.caching.audit", ignore_result=True, soft_time_limit=30, expires=30)
def audit() -> None:
    """Recompute a few samples of what is served; the counters show how many were wrong."""
    for result in cache.audit():
        if result.stale:
            logger.warning(
                "%d of %d fresh values of %s were wrong, the oldest by %.1f s",
                result.stale,
                result.sampled,
                result.family,
                result.oldest_stale_s,
            )


@shared_task(
    name="performance.caching.publish_settings",
    ignore_result=True,
    soft_time_limit=5,
    expires=10,
    autoretry_for=(redis.RedisError,),
    max_retries=2,
)
def publish_settings() -> None:
    """Hand the CacheConfig rows to every process again: the bus may have been wiped meanwhile."""
    services.publish_settings()
