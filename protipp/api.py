"""The one API under `/api/`: odds' own, with performance's mounted into it."""

from __future__ import annotations

from odds.api import api
from performance.dashboard import running
from performance.monitoring.api import mount

__all__ = ["api"]

mount(api, running.run)
