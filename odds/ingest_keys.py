"""From a batch's names to database ids, and its quotes into the temporary table by COPY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from odds import calendars, ingest_sql
from odds.quote_checks import Checked, Refusal
from odds.quotes import Batch, EventInfo, Quote

EXCHANGES = {
    "betfair": Decimal("0.05"),
    "betfair_ex_eu": Decimal("0.05"),
    "betfair_ex_uk": Decimal("0.05"),
    "betfair_ex_au": Decimal("0.05"),
    "matchbook": Decimal("0.02"),
    "smarkets": Decimal("0.02"),
    "betdaq": Decimal("0.02"),
    "fairdeal_ex": Decimal("0.02"),  # of the simulated market
}
"""What exchanges keep of net winnings when first met; staff correct it in the admin."""
NO_COMMISSION = Decimal(0)
NULL = r"\N"
"""How COPY writes null."""
COPY_LINES = 5_000
"""Lines sent at a time: half a megabyte, so that memory does not grow with the batch."""


class StoredEvent(NamedTuple):
    id: int
    key: str
    sport_id: str
    commence_time: datetime
    date_only: bool
    home_team: str
    away_team: str


class Keys(NamedTuple):
    events: dict[str, StoredEvent]
    bookmakers: dict[str, int]
    quotes: list[Quote]
    withdrawn: list[Quote]
    new: set[str]
    """Keys of the events that this transaction has just inserted."""
    refused: list[Refusal]
    """Quotes about events that neither the batch nor the database knows."""


def prepare(cursor: Any, batch: Batch, checked: Checked) -> Keys:
    """Upsert sports, bookmakers and events, and lock the events until COMMIT.

    Five statements, six when the database's events must be corrected, seven with new sports or
    bookmakers, two more when coming events are new or put off, whatever the batch's size.
    """
    given = {event.key: event for event in checked.events}
    named = {quote.event_key for quote in (*checked.quotes, *checked.withdrawn)}
    others = _read_events(cursor, named - given.keys())
    bookmakers = _bookmakers(cursor, batch, {quote.bookmaker_key for quote in checked.quotes})
    _add_sports(cursor, given.values())
    new = _lock(
        cursor, [_row(event) for event in given.values()] + [_stored(e) for e in others.values()]
    )
    events = _read_events(cursor, given.keys() | others.keys())
    corrected = _correct(cursor, given, events)
    moved = {events[key].sport_id for key in corrected}
    added = {events[key].sport_id for key in new if calendars.counts(events[key].commence_time)}
    calendars.keep(cursor, moved | added)
    quotes, refused = _known(checked.quotes, events)
    withdrawn, also_refused = _known(checked.withdrawn, events)
    withdrawn = [quote for quote in withdrawn if quote.bookmaker_key in bookmakers]
    return Keys(events, bookmakers, quotes, withdrawn, new, refused + also_refused)


def _known(
    quotes: list[Quote], events: dict[str, StoredEvent]
) -> tuple[list[Quote], list[Refusal]]:
    if all(quote.event_key in events for quote in quotes):
        return quotes, []
    known = [quote for quote in quotes if quote.event_key in events]
    refused = [
        Refusal(quote, f"event {quote.event_key!r} is neither in the batch nor known already")
        for quote in quotes
        if quote.event_key not in events
    ]
    return known, refused


def _row(event: EventInfo) -> tuple[Any, ...]:
    return (
        event.key,
        event.sport_key,
        event.commence_time,
        event.date_only,
        event.home_team or "",
        event.away_team or "",
    )


def _stored(event: StoredEvent) -> tuple[Any, ...]:
    return event[1:]


def _read_events(cursor: Any, keys: Iterable[str]) -> dict[str, StoredEvent]:
    cursor.execute(ingest_sql.READ_EVENTS, [list(keys)])
    return {row[0]: StoredEvent(row[1], row[0], *row[2:]) for row in cursor.fetchall()}


def _lock(cursor: Any, rows: list[tuple[Any, ...]]) -> set[str]:
    cursor.execute(ingest_sql.LOCK_EVENTS, _columns(rows, 6))
    return {row[0] for row in cursor.fetchall()}


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width


def _correct(cursor: Any, given: dict[str, EventInfo], stored: dict[str, StoredEvent]) -> list[str]:
    """Write what a source now says otherwise: a match that was put off, a name that was corrected.

    Its sport stays: a key names one event of one competition. Returns the keys of those.
    """
    wrong = []
    for key, event in given.items():
        row = _row(event)
        known = stored[key]
        if row[2:] != (known.commence_time, known.date_only, known.home_team, known.away_team):
            wrong.append((key, *row[2:]))
            stored[key] = StoredEvent(known.id, key, known.sport_id, *row[2:])
    if wrong:
        cursor.execute(ingest_sql.CORRECT_EVENTS, _columns(wrong, 5))
    return [row[0] for row in wrong]


def _bookmakers(cursor: Any, batch: Batch, named: set[str]) -> dict[str, int]:
    query = "SELECT key, id FROM odds_bookmaker WHERE key = ANY(%s::text[])"
    wanted = named | {quote.bookmaker_key for quote in batch.withdrawn if quote.bookmaker_key}
    cursor.execute(query, [list(wanted)])
    known = dict(cursor.fetchall())
    new = [key for key in named if key not in known]
    if new:
        rows = [
            (key, batch.bookmakers[key], key in EXCHANGES, EXCHANGES.get(key, NO_COMMISSION))
            for key in new
        ]
        cursor.execute(ingest_sql.ADD_BOOKMAKERS, _columns(rows, 4))
        cursor.execute(query, [list(wanted)])
        known = dict(cursor.fetchall())
    return known


def _add_sports(cursor: Any, events: Iterable[EventInfo]) -> None:
    titles = {event.sport_key: event.sport_title for event in events}
    cursor.execute("SELECT key FROM odds_sport WHERE key = ANY(%s::text[])", [list(titles)])
    known = {row[0] for row in cursor.fetchall()}
    new = [(key, title) for key, title in titles.items() if key not in known]
    if new:
        cursor.execute(ingest_sql.ADD_SPORTS, _columns(new, 2))


def copy(cursor: Any, keys: Keys) -> bool:
    """Send `keys`' quotes to the temporary table; True when some price is among them several times.

    Costs about 3 us a quote on this side.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    lines = _lines(keys, numbers)
    # Django's wrapper has no copy(); the statement's cost is that of the batch, seen in `ingest`.
    with cursor.cursor.copy(ingest_sql.COPY_INCOMING) as stream:
        while chunk := "".join(islice(lines, COPY_LINES)):
            stream.write(chunk)
    return len(numbers) < len(keys.quotes) + len(keys.withdrawn)


def _lines(keys: Keys, numbers: dict[tuple[Any, ...], int]) -> Iterator[str]:
    """Yield COPY's text lines; quotes of the same price get the same number `k`."""
    times: dict[datetime | None, str] = {None: NULL}
    events, bookmakers = keys.events, keys.bookmakers
    n = 0
    for quotes, priced in ((keys.quotes, True), (keys.withdrawn, False)):
        for quote in quotes:
            event_id = events[quote.event_key].id
            bookmaker_id = bookmakers[quote.bookmaker_key]
            point = quote.point
            key = (event_id, bookmaker_id, quote.market, quote.outcome, point)
            k = numbers.setdefault(key, len(numbers))
            updated = times.get(quote.last_update)
            if updated is None:
                updated = times[quote.last_update] = str(quote.last_update)
            outcome = quote.outcome.replace("\\", "\\\\")  # other escapes are not printable
            yield (
                f"{k}\t{n}\t{event_id}\t{bookmaker_id}\t{quote.market}\t{outcome}\t"
                f"{NULL if point is None else point}\t{quote.price if priced else NULL}\t"
                f"{updated}\n"
            )
            n += 1
