"""CacheConfig rows, as every process sees them: one JSON list on the bus, polled twice a second.

The rows are the truth; the bus only carries them, so that reading a cache never asks the database.
Saving a row publishes them after COMMIT, and beat publishes them again, in case the bus was wiped
or a row was changed behind Django's back.
"""

from __future__ import annotations

import logging

import msgspec

from performance.caching.policy import Override
from performance.core import stores

logger = logging.getLogger(__name__)

KEY = "caching:config"
_decoder = msgspec.json.Decoder(list[Override])


def publish(overrides: list[Override]) -> None:
    """Hand the rows to every process. redis.RedisError when the bus is away: beat tries again."""
    stores.bus().set(KEY, msgspec.json.encode(overrides))


class Poller:
    """Remembers what it has read, so that an unchanged list costs one GET and a comparison."""

    def __init__(self) -> None:
        self._last: bytes | None = None

    def changed(self) -> dict[str, Override] | None:
        """Return the overrides by key when they are others than before; None when they are not."""
        stored: bytes | None = stores.bus().get(KEY)  # type: ignore[assignment]
        if stored is None or stored == self._last:
            return None
        self._last = stored
        try:
            return {override.cache_key: override for override in _decoder.decode(stored)}
        except msgspec.MsgspecError as error:
            logger.error("The cache settings on the bus cannot be read (%s); unchanged.", error)
            return None
