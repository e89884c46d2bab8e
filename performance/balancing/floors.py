"""Reasons to have nodes before demand comes, given by those who know: a pluggable signal.

A package above this one registers a function in its AppConfig.ready, such as odds with its fixture
calendar. The scaler asks each at most every 30 s; one that fails leaves the number of nodes where
it is (never fewer), and says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError

from performance.balancing.conf import conf
from performance.core.errors import PerformanceError

logger = logging.getLogger(__name__)

ASKED_EVERY_S = 30.0
Floor = Callable[[str], int]
"""Gets a kind, `web` or `live`; returns the fewest nodes for what is about to begin, 0 for any."""

_floors: dict[str, Floor] = {}


def register_floor(name: str, floor: Floor) -> None:
    """Add a reason to have nodes; ValueError when its name is a signal of the scaler's own."""
    if not name.isidentifier() or name in {"stable", "rush", "queue", "cpu", "forecast"}:
        raise ValueError(
            f"A floor cannot be called {name!r}: it must be a plain word, and none of the scaler's."
        )
    _floors[name] = floor


def unregister_floor(name: str) -> None:
    _floors.pop(name, None)


@dataclass(slots=True)
class Asked:
    """What one kind's floors said last."""

    wants: dict[str, int]
    unknown: tuple[str, ...]
    at_s: float


class Floors:
    """The registered floors, each asked at most every 30 s a kind."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def of(self, kind: str) -> tuple[dict[str, int], tuple[str, ...]]:
        """Return what each floor wants of this kind, and the names of those that failed."""
        now = time.monotonic()
        last = self._asked.get(kind)
        if last is None or now - last.at_s >= ASKED_EVERY_S or last.unknown:
            last = self._asked[kind] = self._ask(kind, now)
        return last.wants, last.unknown

    @staticmethod
    def _ask(kind: str, now: float) -> Asked:
        wants: dict[str, int] = {}
        unknown: list[str] = []
        for name, floor in _floors.items():
            try:
                wants[name] = max(0, int(floor(kind)))
            except (DatabaseError, PerformanceError, ValueError, OSError) as error:
                logger.warning("The floor %r of %s nodes cannot be told: %s", name, kind, error)
                unknown.append(name)
        return Asked(wants, tuple(unknown), now)


def fixture_options() -> tuple[float, int]:
    """Return how many seconds before matches their audience comes, and matches for one node."""
    return conf().fixtures_lead_s, conf().fixtures_per_node
