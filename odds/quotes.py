"""What a feed or an importer hands to ingest: plain values, no database, no clock.

`Batch` is the unit of everything: one transaction, one invalidation, one broadcast.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

DRAW = "Draw"


class EventInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One match or race. `key` is 32 hexadecimal digits, the same from every run of its source."""

    key: str
    sport_key: str
    sport_title: str
    commence_time: datetime
    """UTC. For a source that gives only the day, midnight of it, and `date_only` is true."""
    home_team: str | None
    away_team: str | None
    """Both None for outrights."""
    date_only: bool = False


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One bookmaker's price for one outcome."""

    event_key: str
    bookmaker_key: str
    market: str
    """The Odds API's key: `h2h`, `h2h_3_way`, `spreads`, `totals`, `h2h_lay`, `outrights`, …"""
    outcome: str
    """A team's name, `Draw`, `Over`, `Under`, or a runner."""
    point: Decimal | None
    """The line, from this outcome's own side (home -0.5 is away +0.5); None where there is none."""
    price: Decimal
    """Decimal odds, above 1."""
    last_update: datetime | None
    """UTC, when the bookmaker last confirmed it, by the provider; None where nobody says."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    """`football-data`, `the-odds-api`, `simulate`, `replay`: who sent it."""
    events: list[EventInfo]
    bookmakers: dict[str, str]
    """key: title, for every bookmaker that `quotes` names."""
    quotes: list[Quote]
    withdrawn: list[Quote] = []
    """Prices that the source no longer offers: they leave the board, and history says when."""
    cursor: dict[str, Any] | None = None
    """Where the source goes on after this batch. Stored in the batch's own transaction, so a feed
    that is killed and started again neither skips nor repeats."""


def event_key(sport_key: str, day: date, home_team: str, away_team: str) -> str:
    """Return the key of an event whose source has no ids: the same match gives the same key.

    >>> len(event_key("soccer_epl", date(2026, 5, 24), "Arsenal", "Everton"))
    32
    """
    identity = "\x1f".join((sport_key, day.isoformat(), home_team, away_team))
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
