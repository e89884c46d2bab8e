"""From CacheConfig rows to every process: read them, and put them on the bus after COMMIT."""

from __future__ import annotations

import logging
from typing import Any

import redis
from django.db import transaction

from performance.caching import overrides
from performance.caching.manager import cache
from performance.caching.models import CacheConfig
from performance.caching.policy import Override
from performance.caching.statements import watch_connection

logger = logging.getLogger(__name__)


def publish() -> None:
    """Put all rows on the bus. One query; redis.RedisError while the bus is away."""
    overrides.publish(
        [
            Override(
                cache_key=row.cache_key,
                ttl_seconds=row.ttl_seconds,
                strategy=row.strategy,
                compression_enabled=row.compression_enabled,
                version=row.version,
                rules=tuple(row.invalidation_rules),
            )
            for row in CacheConfig.objects.all()
        ]
    )


def publish_after_commit(**kwargs: Any) -> None:
    """Receiver of post_save and post_delete."""
    transaction.on_commit(_publish_or_say, robust=True)


def _publish_or_say() -> None:
    try:
        publish()
    except redis.RedisError as error:
        logger.warning("The cache settings reach the processes later, by beat: %s", error)


def watch_writes(connection: Any, **kwargs: Any) -> None:
    """Receiver of connection_created: the rules `model:…` hear of what this connection writes."""
    watch_connection(connection, lambda tags, using: cache.invalidate(*tags, using=using))


def row_of(family: str, **settings: Any) -> CacheConfig:
    """Return the family's row as `settings` would make it, checked and not saved.

    ValidationError names the field, the value and what is allowed; UnknownFamily lists them.
    """
    cache.family(family)
    row = CacheConfig.objects.filter(cache_key=family).first() or CacheConfig(cache_key=family)
    for name, value in settings.items():
        setattr(row, name, value)
    row.full_clean()
    return row


def forget_row(family: str) -> bool:
    """Bring the code's own settings back; False when they were in force already."""
    row = CacheConfig.objects.filter(cache_key=cache.family(family).name).first()
    if row is not None:
        row.delete()
    return row is not None
