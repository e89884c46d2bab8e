"""Prices of events that this very transaction has inserted: straight into their tables by COPY.

Nobody else sees such an event yet, and who sends it too waits for its key; so nothing is stored
that its quotes could repeat, change or come too late for, and the merge, which costs PostgreSQL
three times as much, is not needed. What is stored is the same, as a test holds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from odds import ingest_sql
from odds.ingest_keys import COPY_LINES, NULL, Keys
from odds.ingest_outcome import Outcome
from odds.quotes import Quote


class _Move(NamedTuple):
    """One line of history: its price's place among the prices, and what came."""

    number: int
    step: int
    price: Decimal | None
    last_update: datetime | None


class _Prices:
    """The prices of new events, one quote after the other. Lists by number, as objects are dear."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.last: list[Decimal | None] = []
        """The price as the last quote that counts has it; None: withdrawn."""
        self.offered: list[Decimal] = []
        """The last price that was one."""
        self.newest: list[datetime | None] = []
        self.steps: list[int] = []
        """Moves after the first."""
        self.moves: list[_Move] = []
        self.unchanged = self.late = 0

    def take(self, keys: Keys, quotes: Sequence[Quote]) -> None:
        numbers, last, offered, newest = self.numbers, self.last, self.offered, self.newest
        steps, moves, events, bookmakers = self.steps, self.moves, keys.events, keys.bookmakers
        for quote in quotes:
            price, updated = quote.price, quote.last_update
            key = (
                events[quote.event_key].id,
                bookmakers[quote.bookmaker_key],
                quote.market,
                quote.outcome,
                quote.point,
            )
            number = numbers.setdefault(key, len(last))
            if number == len(last):
                last.append(price)
                offered.append(price)
                newest.append(updated)
                steps.append(0)
                moves.append(_Move(number, 0, price, updated))
                continue
            before = newest[number]
            if updated is not None:
                if before is not None and updated < before:
                    self.late += 1
                    continue
                newest[number] = updated
            if price == last[number]:
                self.unchanged += 1
                continue
            last[number] = offered[number] = price
            steps[number] += 1
            moves.append(_Move(number, steps[number], price, updated))

    def withdraw(self, keys: Keys, quotes: Sequence[Quote]) -> None:
        never_offered: dict[tuple[Any, ...], datetime | None] = {}
        for quote in quotes:
            updated = quote.last_update
            event_id = keys.events[quote.event_key].id
            bookmaker_id = keys.bookmakers[quote.bookmaker_key]
            key = (event_id, bookmaker_id, quote.market, quote.outcome, quote.point)
            number = self.numbers.get(key)
            before = never_offered.get(key) if number is None else self.newest[number]
            if updated is not None and before is not None and updated < before:
                self.late += 1
                continue
            if number is None:
                never_offered[key] = updated or before
                self.unchanged += 1
                continue
            self.newest[number] = updated or before
            if self.last[number] is None:
                self.unchanged += 1
                continue
            self.last[number] = None
            self.steps[number] += 1
            self.moves.append(_Move(number, self.steps[number], None, updated))


def store(
    cursor: Any, keys: Keys, quotes: Sequence[Quote], withdrawn: Sequence[Quote], at: datetime
) -> Outcome:
    """Write the prices of new events and their history; four statements, whatever their number.

    Costs about 4 us a quote here and 9 us in PostgreSQL.
    """
    prices = _Prices()
    prices.take(keys, quotes)
    prices.withdraw(keys, withdrawn)
    cursor.execute(ingest_sql.TAKE_PRICE_IDS, [len(prices.last)])
    ids = [row[0] for row in cursor.fetchall()]
    times = _Times(at)
    _copy(cursor, ingest_sql.COPY_PRICES, _price_lines(prices, ids, times))
    _copy(cursor, ingest_sql.COPY_CHANGES, _change_lines(prices, ids, times))
    touched: dict[int, set[str]] = defaultdict(set)
    for event_id, _, market, _, _ in prices.numbers:
        touched[event_id].add(market)
    marked = [json.dumps(list(markets)) for markets in touched.values()]
    cursor.execute(ingest_sql.KEEP_MARKETS, [list(touched), marked])
    inserted = len(prices.last)
    gone = sum(1 for move in prices.moves if move.price is None)
    gone_last = prices.last.count(None)
    return Outcome(
        inserted=inserted,
        changed=len(prices.moves) - inserted - (gone - gone_last),
        withdrawn=gone - gone_last,
        unchanged=prices.unchanged,
        late=prices.late,
        touched=touched,
        changes=None,
    )


class _Times(dict[datetime | None, str]):
    """Times as COPY writes them, each made once: a batch has few different ones."""

    def __init__(self, at: datetime) -> None:
        super().__init__({None: NULL})
        self.at = at
        self.after: dict[int, str] = {}

    def __missing__(self, time: datetime | None) -> str:
        text = self[time] = str(time)
        return text

    def step(self, step: int) -> str:
        """Return when the move after `step` others of its price is recorded: never two at once."""
        text = self.after.get(step)
        if text is None:
            text = self.after[step] = str(self.at + timedelta(microseconds=step))
        return text


def _copy(cursor: Any, statement: str, lines: Iterator[str]) -> None:
    # Django's wrapper has no copy(); the statement's cost is that of the batch, seen in `ingest`.
    with cursor.cursor.copy(statement) as stream:
        while chunk := "".join(islice(lines, COPY_LINES)):
            stream.write(chunk)


def _price_lines(prices: _Prices, ids: list[int], times: _Times) -> Iterator[str]:
    seen = times[times.at]
    for (event_id, bookmaker_id, market, outcome, point), id, price, last, newest, step in zip(
        prices.numbers, ids, prices.offered, prices.last, prices.newest, prices.steps, strict=True
    ):
        changed = times.step(step)
        if "\\" in outcome:  # other escapes are not printable
            outcome = outcome.replace("\\", "\\\\")
        yield (
            f"{id}\t{event_id}\t{bookmaker_id}\t{market}\t{outcome}\t"
            f"{NULL if point is None else point!s}\t{price!s}\t{times[newest]}\t"
            f"{changed}\t{seen}\t{changed if last is None else NULL}\n"
        )


def _change_lines(prices: _Prices, ids: list[int], times: _Times) -> Iterator[str]:
    events = [key[0] for key in prices.numbers]
    for number, step, price, updated in prices.moves:
        yield (
            f"{ids[number]}\t{times.step(step)}\t{events[number]}\t"
            f"{NULL if price is None else price!s}\t{times[updated]}\n"
        )
