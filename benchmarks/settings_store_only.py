"""The site's settings with no room in memory: every cached answer comes from the store."""

from __future__ import annotations

from protipp import settings as site
from protipp.settings import *  # noqa: F403 - all of them, but for one

PERFORMANCE = {
    **getattr(site, "PERFORMANCE", {}),
    "CACHING": {**getattr(site, "PERFORMANCE", {}).get("CACHING", {}), "memory_bytes": 1},
}
