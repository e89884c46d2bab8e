"""What the bus says to the live nodes, and what they say to browsers. Plain values."""

from __future__ import annotations

from typing import Any

import msgspec

Key = tuple[str, str, str, str, Any]


class Change(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One price, as frames carry it: short names, because thousands of browsers get each."""

    e: str
    """event"""
    m: str
    """market"""
    b: str
    """bookmaker"""
    o: str
    """outcome"""
    p: float | None
    """decimal odds; null: no longer offered"""
    l: float | None = None  # noqa: E741
    """line, the outcome's own"""
    t: str | None = None
    """last_update, ISO 8601"""

    @property
    def key(self) -> Key:
        return (self.e, self.m, self.b, self.o, self.l)


class DrainOrder(msgspec.Struct, frozen=True):
    node_id: str
    spread_s: float = 0.0


class Given(msgspec.Struct, frozen=True, gc=False):
    event: str
    sport: str
    bookmaker: str
    market: str
    outcome: str
    point: float | None = None
    price: float | None = None
    last_update: str | None = None


class Opportunities(msgspec.Struct, frozen=True):
    opened: list[Any] = []
    changed: list[Any] = []
    closed: list[Any] = []


class Message(msgspec.Struct, frozen=True):
    id: int
    changes: list[Given] = []
    resync: list[str] = []
    opportunities: Opportunities = Opportunities()
