"""A market that moves by itself, the same for the same seed, whenever and however it is run.

Nothing is remembered between ticks: what stands in the market at a tick is computed from the seed
and the tick alone, so a feed that was killed goes on exactly where its cursor says. A market moves
once a cycle; its bookmakers follow within a few ticks, the sharp ones first, and each of them now
and then misprices the favourite for a minute or two: that is where arbitrages come from.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from odds.feeds.simulate_draws import draw, on_ladder, unit, wander
from odds.feeds.simulate_names import HOUSES, LEAGUES, House, League
from odds.quotes import DRAW, Batch, EventInfo, Quote, event_key

TICKS_A_S = 4
MARKETS = ("h2h", "totals", "spreads")
PRICES_A_BOOK = 2.35
"""Outcomes of an average book: half of the leagues quote a draw."""
MOVED = 0.57
"""Share of quoted prices that are others than before: ladders swallow small moves."""
SLIPS = 11
"""Mispricings that stand at any time; about half of them make an arbitrage."""
SLIP_S = (40, 160)
"""For how long one stands, in seconds."""
LEAST_MARGIN_TO_SLIP = 0.02
MIN_LIFE_S, MAX_LIFE_S = 2 * 3600, 40 * 3600
"""How long an event is quoted before it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What is simulated. `epoch` is when tick 0 was; there are four ticks a second."""

    seed: int
    epoch: datetime
    events: int = 200
    bookmakers: int = 12
    changes_a_s: int = 200

    @property
    def houses(self) -> tuple[House, ...]:
        return HOUSES[: self.bookmakers]

    @property
    def cycle_ticks(self) -> int:
        """Ticks between two moves of one market, so that all together make `changes_a_s`."""
        prices = self.events * len(MARKETS) * len(self.houses) * PRICES_A_BOOK * MOVED
        return max(12, round(prices * TICKS_A_S / self.changes_a_s))

    def at(self, tick: int) -> datetime:
        return self.epoch + timedelta(seconds=tick / TICKS_A_S)


class Match(NamedTuple):
    """What is played in one of the market's slots: one event after another."""

    slot: int
    turn: int
    league: League
    info: EventInfo
    first_tick: int
    """From here on it is quoted."""
    last_tick: int
    """It begins here and is quoted no more."""


class Book(NamedTuple):
    """All outcomes of one market of one match, with their true probabilities at a moment."""

    market: str
    outcomes: tuple[str, ...]
    points: tuple[Decimal | None, ...]
    chances: tuple[float, ...]


# --- the market -------------------------------------------------------------------------------


def match_of(market: Market, slot: int, tick: int) -> Match:
    """Return what is quoted in `slot` at `tick`. A match begins when the next one takes over."""
    seed = market.seed
    life, already = _life(seed, slot)
    turn = (tick + already) // life
    first, last = turn * life - already, (turn + 1) * life - already
    league = LEAGUES[slot % len(LEAGUES)]
    home = draw(seed, 3, slot, turn) % len(league.teams)
    away = (home + 1 + draw(seed, 4, slot, turn) % (len(league.teams) - 1)) % len(league.teams)
    names = league.teams[home], league.teams[away]
    begins = market.at(last)
    info = EventInfo(
        key=event_key(f"{league.key}#{seed}.{slot}.{turn}", market.epoch.date(), *names),
        sport_key=league.key,
        sport_title=league.title,
        commence_time=begins,
        home_team=names[0],
        away_team=names[1],
    )
    return Match(slot, turn, league, info, first, last)


@functools.lru_cache(maxsize=4096)
def _life(seed: int, slot: int) -> tuple[int, int]:
    """Return how many ticks each match of a slot is quoted, and how many the first one was."""
    life_s = round((MIN_LIFE_S + (MAX_LIFE_S - MIN_LIFE_S) * unit(seed, 1, slot)) / 300) * 300
    life = life_s * TICKS_A_S
    return life, int(unit(seed, 2, slot) * life * 0.95)


def _begins_at(market: Market, slot: int, tick: int) -> bool:
    life, already = _life(market.seed, slot)
    return (tick + already) % life == 0


def book_of(market: Market, match: Match, kind: int, move: int) -> Book:
    """Return one market of a match as it truly stands after its `move`-th move."""
    names = (market.seed, 5, match.slot, match.turn, kind)
    league, (home, away) = match.league, (match.info.home_team or "", match.info.away_team or "")
    drift = 0.22 * wander(move, *names)
    if MARKETS[kind] == "h2h":
        strength = 1.1 * (2 * unit(*names, 0) - 1) + 0.18 + drift
        share = 1 / (1 + math.exp(-strength))
        if league.draw is None:
            return Book("h2h", (home, away), (None, None), (share, 1 - share))
        drawn = league.draw * (1 - 0.35 * abs(2 * share - 1))
        chances = (share * (1 - drawn), drawn, (1 - share) * (1 - drawn))
        return Book("h2h", (home, DRAW, away), (None, None, None), chances)
    share = 1 / (1 + math.exp(-(0.3 * (2 * unit(*names, 0) - 1) + drift)))
    away_from = draw(*names, 1) % 5 - 2
    if MARKETS[kind] == "totals":
        line = Decimal(str(max(1.5, league.total + away_from * league.total_step)))
        return Book("totals", ("Over", "Under"), (line, line), (share, 1 - share))
    line = Decimal(
        str(away_from * league.spread_step + (0.5 if league.spread_step % 1 == 0 else 0))
    )
    return Book("spreads", (home, away), (line, -line), (share, 1 - share))


def quotes_of(market: Market, match: Match, kind: int, house: int, tick: int) -> list[Quote]:
    """Return what one bookmaker quotes for one market of a match at `tick`."""
    move = _last_move(market, match.slot, kind, house, tick)
    book = book_of(market, match, kind, move)
    margin = market.houses[house].margin
    slip = _slips(market, tick).get((match.slot, kind, house), 0.0)
    favourite = max(range(len(book.chances)), key=book.chances.__getitem__)
    quotes = []
    for n, (outcome, point, chance) in enumerate(
        zip(book.outcomes, book.points, book.chances, strict=True)
    ):
        taste = 0.008 * (2 * unit(market.seed, 6, match.slot, match.turn, kind, house, n) - 1)
        price = 1 / (chance * (1 + margin + taste))
        if slip and n == favourite:
            price *= 1 + slip
        quotes.append(
            Quote(
                event_key=match.info.key,
                bookmaker_key=market.houses[house].key,
                market=book.market,
                outcome=outcome,
                point=point,
                price=on_ladder(price),
                last_update=market.at(tick),
            )
        )
    return quotes


@functools.lru_cache(maxsize=4)
def _phases(market: Market) -> list[list[int]]:
    """Return by slot and market at which tick of its cycle it moves."""
    return [
        [draw(market.seed, 7, slot, kind) % market.cycle_ticks for kind in range(len(MARKETS))]
        for slot in range(market.events)
    ]


@functools.lru_cache(maxsize=4)
def _timetable(market: Market) -> dict[int, list[tuple[int, int, int]]]:
    """Return for each tick of a cycle the (slot, market, bookmaker) that quote anew then."""
    due: dict[int, list[tuple[int, int, int]]] = {}
    for slot, phases in enumerate(_phases(market)):
        for kind, phase in enumerate(phases):
            for house, who in enumerate(market.houses):
                moment = (phase + who.lag_ticks) % market.cycle_ticks
                due.setdefault(moment, []).append((slot, kind, house))
    return due


def _last_move(market: Market, slot: int, kind: int, house: int, tick: int) -> int:
    """Return the number of the last move that this bookmaker has followed."""
    phase = _phases(market)[slot][kind] + market.houses[house].lag_ticks
    return (tick - phase) // market.cycle_ticks


class Slip(NamedTuple):
    """One bookmaker's mispricing of one market's favourite, between two ticks."""

    slot: int
    kind: int
    house: int
    first_tick: int
    last_tick: int
    size: float


def slips_at(market: Market, tick: int) -> Iterator[Slip]:
    """Yield the mispricings whose time it is; they begin and end apart from each other."""
    # An exchange's own prices would make a book below 1 all alone, and nobody bets against himself.
    houses = [n for n, house in enumerate(market.houses) if house.margin > LEAST_MARGIN_TO_SLIP]
    for lane in range(min(SLIPS, market.events) if houses else 0):
        low, high = SLIP_S
        length = int((low + (high - low) * unit(market.seed, 8, lane)) * TICKS_A_S)
        turn = (tick + lane * 37) // length
        first = turn * length - lane * 37
        names = (market.seed, 9, lane, turn)
        yield Slip(
            slot=draw(*names, 0) % market.events,
            kind=draw(*names, 1) % len(MARKETS),
            house=houses[draw(*names, 2) % len(houses)],
            first_tick=first,
            last_tick=first + length * 3 // 4,
            size=0.055 + 0.05 * unit(*names, 3),
        )


@functools.lru_cache(maxsize=16)
def _slips(market: Market, tick: int) -> dict[tuple[int, int, int], float]:
    return {
        (slip.slot, slip.kind, slip.house): slip.size
        for slip in slips_at(market, tick)
        if slip.first_tick <= tick < slip.last_tick
    }


# --- what is sent -----------------------------------------------------------------------------


def everything(market: Market, tick: int, *, since: int | None = None) -> Batch:
    """Return the whole market as it stands at `tick`: at first, or after a long sleep.

    The prices of matches that were quoted at the tick `since` and have begun are withdrawn.
    """
    matches = [match_of(market, slot, tick) for slot in range(market.events)]
    withdrawn: list[Quote] = []
    if since is not None:
        over = [match_of(market, slot, since) for slot in range(market.events)]
        for match in over:
            if match.last_tick <= tick:
                withdrawn += _all_quotes(market, match, since)
    quotes = [_all_quotes(market, match, tick) for match in matches]
    return _batch(market, tick, matches, quotes, withdrawn)


def changes(market: Market, tick: int) -> Batch:
    """Return what happens at `tick`: moves that bookmakers follow now, slips that begin or end,
    and matches that take over from those that begin (whose prices are withdrawn)."""
    books = dict.fromkeys(_timetable(market).get(tick % market.cycle_ticks, ()))
    for moment in (tick, tick - 1):
        for slip in slips_at(market, moment):
            if tick in (slip.first_tick, slip.last_tick):
                books[slip.slot, slip.kind, slip.house] = None
    matches: dict[int, Match] = {}
    withdrawn: list[Quote] = []
    quotes: list[list[Quote]] = []
    for slot in range(market.events):
        if _begins_at(market, slot, tick):
            match = match_of(market, slot, tick)
            over = match_of(market, slot, tick - 1)
            withdrawn += _all_quotes(market, over, tick - 1)
            matches[slot] = match
            quotes.append(_all_quotes(market, match, tick))
    for slot, kind, house in books:
        if slot not in matches or matches[slot].first_tick != tick:
            match = matches.setdefault(slot, match_of(market, slot, tick))
            quotes.append(quotes_of(market, match, kind, house, tick))
    return _batch(market, tick, list(matches.values()), quotes, withdrawn)


def _all_quotes(market: Market, match: Match, tick: int) -> list[Quote]:
    return [
        quote
        for kind in range(len(MARKETS))
        for house in range(len(market.houses))
        for quote in quotes_of(market, match, kind, house, tick)
    ]


def _batch(
    market: Market,
    tick: int,
    matches: list[Match],
    quotes: list[list[Quote]],
    withdrawn: list[Quote] | None = None,
) -> Batch:
    return Batch(
        source="simulate",
        events=[match.info for match in matches],
        bookmakers={house.key: house.title for house in market.houses},
        quotes=[quote for some in quotes for quote in some],
        withdrawn=withdrawn or [],
        cursor={
            "seed": market.seed,
            "epoch": market.epoch.isoformat(),
            "events": market.events,
            "bookmakers": market.bookmakers,
            "changes_a_s": market.changes_a_s,
            "tick": tick,
        },
    )
