"""The page `cache`, every family by its numbers, and `cache-keys`, one value under the glass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from performance.caching import cache_acts, services
from performance.caching.services import StoreAway, cache
from performance.core import pages
from performance.core.errors import PerformanceError

KEYS_SHOWN = 50
EXAMPLES = 2


@pages.register
class CachePage(pages.Page):
    slug = "cache"
    title = "CacheStatus"
    permission = "performance_caching.view_cache"
    order = 20
    acts = tuple(act.name for act in cache_acts.ON_THE_BAR)

    def snapshot(self) -> dict[str, Any]:
        return cache.overview()


@pages.register
class CacheKeysPage(pages.Page):
    """Shows single values, so it has a permission of its own. It stands still."""

    slug = "cache-keys"
    title = "Cache keys"
    permission = "performance_caching.inspect_cache"
    order = 21

    def snapshot(self) -> dict[str, Any]:
        """Return how each family's keys are written, with examples of what it would warm."""
        examples: dict[str, list[str]] = {}
        for one in services.warming_plan(services.Target(everything=True), limit=EXAMPLES):
            examples.setdefault(one.family.name, []).append(one.key)
        return {
            "families": [
                {
                    "name": family.name,
                    "signature": services.signature(family),
                    "examples": examples.get(family.name, []),
                }
                for family in cache.families()
            ]
        }

    def choose(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the value under `?key=`, or what is stored of `?family=`."""
        key, family = query.get("key", "").strip(), query.get("family", "").strip()
        chosen: dict[str, Any] = {"key": key, "family": family, "notice": ""}
        try:
            if key:
                chosen["found"] = services.inspect(key)
            elif family:
                cache.family(family)
                chosen["stored"] = [
                    {"key": stored_as, "size_bytes": size_bytes, "kept_for_s": kept_for_s}
                    for stored_as, size_bytes, kept_for_s in services.stored_keys(
                        family, limit=KEYS_SHOWN
                    )
                ]
        except (PerformanceError, StoreAway) as error:
            chosen["notice"] = str(error)
        return chosen
