"""What the API answers, for its OpenAPI page; the bytes themselves come from PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ninja import Field, Schema


class Sport(Schema):
    key: str
    group: str
    title: str
    description: str
    active: bool
    has_outrights: bool
    event_count: int = Field(description="Coming and running events.")
    in_play_count: int


class Outcome(Schema):
    name: str
    price: float = Field(description="Decimal odds, or American as an integer.")
    point: float | None = None


class Market(Schema):
    key: str
    last_update: datetime | int
    outcomes: list[Outcome]


class Bookmaker(Schema):
    key: str
    title: str
    last_update: datetime | int
    markets: list[Market]


class Event(Schema):
    id: str
    sport_key: str
    sport_title: str
    commence_time: datetime | int
    home_team: str | None
    away_team: str | None
    bookmakers: list[Bookmaker]


class ComparedOutcome(Schema):
    name: str
    point: float | None
    best: float | None
    best_at: list[str]
    fair: float | None = Field(description="The bookmakers' average without their margins.")
    suspended_at: list[str]


class Compared(Schema):
    market: str
    line: float | None = Field(description="Totals: the line. Spreads: the home side's.")
    with_draw: bool
    best_overround_pct: float | None
    overround_pct: dict[str, float]
    outcomes: list[ComparedOutcome]


class History(Schema):
    market: str
    outcome: str
    point: float | None
    bookmaker: str
    price_id: int
    changes: list[tuple[float, float | None]] = Field(
        description="[unix seconds, decimal odds], oldest first; null: no longer offered."
    )


class EventDetail(Event):
    as_of: float
    compared: list[Compared]
    history: list[History] | None = None


class Leg(Schema):
    outcome: str
    point: float | None
    price: float
    bookmakers: list[str]
    stake_pct: float
    last_update: str | None


class Bet(Schema):
    outcome: str
    price: float
    net_price: float = Field(description="After the exchange's commission.")
    stake: float
    pays: float
    profit: float


class Stakes(Schema):
    staked: float
    profit: float = Field(description="The least over all outcomes, after rounding.")
    bets: list[Bet]


class Opportunity(Schema):
    id: int
    event_id: str
    sport_key: str
    sport_title: str
    commence_time: int
    home_team: str
    away_team: str
    market: str
    point: float | None
    sum_inverse: float
    roi_pct: float
    legs: list[Leg]
    suspect: str = Field(description="Why it is probably an error; empty when it is not.")
    needs_exchange: bool
    can_push: bool
    first_seen_at: float
    last_seen_at: float
    stakes: Stakes | None = None


class Quoter(Schema):
    title: str
    commission: float


class Arbitrages(Schema):
    as_of: float
    bookmakers: dict[str, Quoter]
    bankroll: Decimal | None = None
    opportunities: list[Opportunity]
