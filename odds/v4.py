"""Events as The Odds API v4 writes them, as JSON. Pure: no database.

In the node and not in the statement: from the lines that boards read too it costs two microseconds
a price here; PostgreSQL took five, in statements that then were none of a millisecond.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

from odds.compared import Names, ReadEvent
from odds.comparing import Line, Offer

_Rank = tuple[str, float, int]
"""Market; point, -inf where it has none; home and Over, away and Under, then whatever there is."""
_MILLION = 1_000_000
"""Prices are stored with six places, so that whole millionths are exact."""


class Form(NamedTuple):
    odds_format: Literal["decimal", "american"] = "decimal"
    date_format: Literal["iso", "unix"] = "iso"


class _Quoted:
    """What one bookmaker offers in one market."""

    __slots__ = ("newest", "outcomes")

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.newest = 0


class Writer:
    """Writes the events of one answer; what is often the same is made once."""

    def __init__(self, names: Names, form: Form) -> None:
        self.names = names
        self._prices = _Texts(decimal if form.odds_format == "decimal" else american)
        self._times = _Texts(iso if form.date_format == "iso" else str)
        self._books = {
            key: f'{{"key":{_json(key)},"title":{_json(title)},"last_update":'
            for key, title in names.bookmakers.items()
        }

    def event(self, read: ReadEvent, *, priced: bool) -> bytes:
        """Return the event, with nothing that is suspended and no bookmaker but those in `names`.

        With `priced` it is empty where nothing else is left.
        """
        quoted = self._quoted(read)
        if priced and not quoted:
            return b""
        books = ",".join(
            self._book(opened, quoted[key])
            for key, opened in self._books.items()  # by their titles
            if key in quoted
        )
        home, away = (_json(name) if name else "null" for name in (read.home_team, read.away_team))
        return (
            f'{{"id":{_json(read.id)},"sport_key":{_json(read.sport_key)},'
            f'"sport_title":{_json(self.names.sports[read.sport_key])},'
            f'"commence_time":{self._times[read.commence_time]},"home_team":{home},'
            f'"away_team":{away},"bookmakers":[{books}]}}'
        ).encode()

    def _quoted(self, read: ReadEvent) -> dict[str, dict[str, _Quoted]]:
        """Return what is on offer, by bookmaker and market, the markets in their order."""
        places = {read.away_team: 1, "Under": 1, read.home_team: 0, "Over": 0}
        ranks: dict[_Rank, list[Line]] = defaultdict(list)
        for line in read.lines:
            point = -math.inf if line.point is None else line.point
            ranks[line.market, point, places.get(line.outcome, 2)].append(line)
        quoted: dict[str, dict[str, _Quoted]] = {}
        for rank in sorted(ranks):
            self._take(ranks[rank], rank[0], quoted)
        return quoted

    def _take(self, lines: list[Line], market: str, quoted: dict[str, dict[str, _Quoted]]) -> None:
        """Add what is on offer in lines of one rank: there, the lower price comes first."""
        books, prices = self._books, self._prices
        for offer, opened, closed in _offers(lines):
            bookmaker = offer.bookmaker
            if offer.suspended or bookmaker not in books:
                continue
            markets = quoted.get(bookmaker)
            if markets is None:
                markets = quoted[bookmaker] = {}
            found = markets.get(market)
            if found is None:
                found = markets[market] = _Quoted()
            found.outcomes.append(f"{opened}{prices[offer.price]}{closed}")
            if offer.confirmed_at > found.newest:
                found.newest = offer.confirmed_at

    def _book(self, opened: str, markets: dict[str, _Quoted]) -> str:
        parts = [
            f'{{"key":{_json(market)},"last_update":{self._times[one.newest]},'
            f'"outcomes":[{",".join(one.outcomes)}]}}'
            for market, one in markets.items()
        ]
        newest = max([one.newest for one in markets.values()])
        return f'{opened}{self._times[newest]},"markets":[{",".join(parts)}]}}'


def _offers(lines: list[Line]) -> Iterable[tuple[Offer, str, str]]:
    """Return each offer with what stands before and after its price."""
    if len(lines) == 1:
        opened, closed = _around(lines[0])
        return [(offer, opened, closed) for offer in lines[0].offers]
    several = [(offer, *_around(line)) for line in lines for offer in line.offers]
    return sorted(several, key=lambda one: (one[0].price, one[1]))


class _Texts(dict[float, str]):
    """What stands for each number in the JSON, each made once."""

    def __init__(self, make: Callable[[float], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, number: float) -> str:
        text = self[number] = self._make(number)
        return text


def decimal(number: float) -> str:
    """Return a number of at most twelve digits as it is stored.

    >>> decimal(2.0), decimal(1.909091), decimal(-0.5)
    ('2', '1.909091', '-0.5')
    """
    return str(int(number)) if number.is_integer() else repr(number)


def american(price: float) -> str:
    """Return what 100 win, or what must be staked to win 100, rounded half away from zero.

    >>> american(2.005), american(1.909091), american(2.0)
    ('101', '-110', '100')
    """
    above = round(price * _MILLION) - _MILLION
    if above >= _MILLION:
        return str((100 * above + _MILLION // 2) // _MILLION)
    return str(-((200 * _MILLION + above) // (2 * above)))


def iso(second: float) -> str:
    """Return a second of the Unix epoch as a JSON string.

    >>> iso(0)
    '"1970-01-01T00:00:00Z"'
    """
    return f'"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"'


def _around(line: Line) -> tuple[str, str]:
    """Return what stands before and after each price of a line."""
    point = "" if line.point is None else f',"point":{decimal(line.point)}'
    return f'{{"name":{_json(line.outcome)},"price":', f"{point}}}"


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
