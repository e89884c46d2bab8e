"""Events as one statement reads them, and their prices compared: only what has moved since."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Set
from typing import Any, NamedTuple

import msgspec
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from odds.comparing import Line, Table, tables
from odds.held import Held, Kept, Known
from performance.queries.services import on_replica


class ReadEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as the statement gives it, before its prices are compared."""

    id: str
    sport_key: str
    commence_time: int
    date_only: bool
    home_team: str
    away_team: str
    first_seen_at: float
    lines: list[Line]


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    number: int
    revision: int
    read: ReadEvent | None = None
    """None: it is held at this revision already."""


class Names(msgspec.Struct, frozen=True):
    bookmakers: dict[str, str]
    """All active ones, or those asked for."""
    sports: dict[str, str]


_decode_names = msgspec.json.Decoder(Names).decode


class Read(msgspec.Struct, frozen=True, gc=False):
    as_of: float
    names: msgspec.Raw
    events: list[Row]

    def decoded_names(self) -> Names:
        return _decode_names(self.names)


class Compared(NamedTuple):
    """What a board needs of one event as long as its revision stands."""

    read: ReadEvent
    tables: list[Table]
    quoting: frozenset[str]
    confirmed_at: list[int]
    """Of all prices on offer."""
    offers: int


_decode = msgspec.json.Decoder(Read).decode
_number = operator.attrgetter("price_id")
_bookmaker = operator.attrgetter("bookmaker")
HELD_OFFERS = 100_000
"""Compared prices that a process keeps, about 200 bytes each."""
held: Held[Compared] = Held(HELD_OFFERS)


def fetch_json(sql: str, parameters: Mapping[str, Any], *, may_be_late: bool = False) -> bytes:
    """Run a statement whose one cell is JSON text.

    What may be a second late is read from a replica. Prices are not: read there, just after the
    batch that changed them, an old one would be cached as new.
    """

    def read(link: BaseDatabaseWrapper) -> bytes:
        with link.cursor() as cursor:
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
        text: str = row[0]
        return text.encode()

    return on_replica(read) if may_be_late else read(connection)


def read(sql: str, parameters: Mapping[str, Any], known: Known[Any]) -> Read:
    """Run a statement of `sheets.reading`: events, and the prices of those that are not known."""
    return _decode(fetch_json(sql, {**parameters, **known.as_parameters()}))


def read_compared(
    asked: Hashable, sql: str, parameters: Mapping[str, Any], *, most: int
) -> tuple[Read, list[Compared]]:
    """Read what has moved since `asked` was asked last, and return all of it, compared."""
    known = held.get(asked)
    found = read(sql, parameters, known)
    if known.events and bytes(found.names) != known.names:  # who is active has changed, or a title
        known = Known(b"", {})
        found = read(sql, parameters, known)
    active = found.decoded_names().bookmakers.keys()
    parts = {
        row.number: known.events[row.number]
        if row.read is None
        else Kept(row.revision, _compare(row.read, active, most))
        for row in found.events
    }
    compared = [kept.part for kept in parts.values()]
    held.keep(asked, Known(bytes(found.names), parts), sum(one.offers for one in compared))
    return found, compared


def _compare(read: ReadEvent, active: Set[str], most: int) -> Compared:
    offers = [offer for line in read.lines for offer in line.offers]
    quoting = frozenset(map(_bookmaker, offers))
    if not quoting <= active:  # a sheet has all of them; few are ever switched off
        lines = [_of_these(line, active) for line in read.lines]
        kept = msgspec.structs.replace(read, lines=[line for line in lines if line.offers])
        return _compare(kept, active, most)
    # A plan gives them in any order, and the same prices must make the same bytes.
    read.lines.sort(key=lambda line: (line.market, line.outcome, line.point or 0.0))
    for line in read.lines:
        line.offers.sort(key=_number)
    return Compared(
        read=read,
        tables=tables(read.lines, read.home_team, read.away_team, most=most),
        quoting=quoting,
        confirmed_at=[offer.confirmed_at for offer in offers if not offer.suspended],
        offers=len(offers),
    )


def _of_these(line: Line, bookmakers: Set[str]) -> Line:
    offers = [offer for offer in line.offers if offer.bookmaker in bookmakers]
    return msgspec.structs.replace(line, offers=offers)
