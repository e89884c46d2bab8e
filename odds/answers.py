"""The API's answer in the shape of The Odds API v4: read as `boards` reads, written by `v4`.

Its clients may point at us without a change. Where its own answers differ between their years, the
newer form is given (`last_update` at bookmakers and at markets).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from odds import v4
from odds.boards import EVENT
from odds.compared import Row, read
from odds.held import Held, Kept, Known
from odds.sheets import ALL_MARKETS, IN_PLAY_H, LISTED, THESE_MARKETS, reading

MAX_EVENTS = 500
UPCOMING = "upcoming"
UPCOMING_EVENTS = 8
"""The Odds API's `upcoming`: what is in play, and the next eight of all sports."""
UPCOMING_IN_PLAY = 92
"""Of those in play, the ones that began last: so `upcoming` has at most a hundred events."""
EVENTS_A_STATEMENT = 25
"""What is not held is read in parts of this many events, so that none takes the server long."""
HELD_BYTES = 16_000_000
"""Events as JSON that a process keeps."""

_SPORT = "e.sport_id = %(sport)s"
_UPCOMING = f"""e.sport_id IN (SELECT key FROM odds_sport WHERE active) AND e.id IN (
    (SELECT id FROM odds_event WHERE commence_time > now() ORDER BY commence_time, key
        LIMIT {UPCOMING_EVENTS})
    UNION ALL (SELECT id FROM odds_event WHERE commence_time <= now()
        AND commence_time > now() - make_interval(hours => {IN_PLAY_H})
        ORDER BY commence_time DESC, key LIMIT {UPCOMING_IN_PLAY}))"""
_SINCE = f"AND e.commence_time > now() - make_interval(hours => {IN_PLAY_H})"
_FIRST = "ORDER BY e.commence_time, e.key LIMIT %(limit)s::int"
_PRICED = """
    AND EXISTS (SELECT FROM odds_price p JOIN odds_bookmaker b ON b.id = p.bookmaker_id
        WHERE p.event_id = e.id AND p.market = ANY(%(markets)s::text[])
            AND p.suspended_at IS NULL AND b.active {of_bookmakers})"""
_AFTER = """
    AND (e.commence_time, e.key) > (SELECT commence_time, key FROM odds_event
        WHERE key = %(after)s)"""

held: Held[bytes] = Held(HELD_BYTES)
_PARTS = (*[EVENTS_A_STATEMENT] * (MAX_EVENTS // EVENTS_A_STATEMENT + 2), MAX_EVENTS)


def event_odds(key: str, *, bookmakers: Sequence[str] = ()) -> bytes:
    """Return a JSON list with the event and all its markets in v4's shape; empty if unknown.

    One query. Decimal odds and ISO times.
    """
    statement = reading(EVENT, markets=ALL_MARKETS, of_bookmakers=bool(bookmakers))
    parameters = {"key": key, "bookmakers": list(bookmakers)}
    return _answer(
        ("event", key, tuple(bookmakers)), statement, parameters, v4.Form(), priced=False
    )


def odds(
    sport: str,
    *,
    markets: Sequence[str] = ("h2h",),
    bookmakers: Sequence[str] = (),
    odds_format: Literal["decimal", "american"] = "decimal",
    date_format: Literal["iso", "unix"] = "iso",
    commence_from: datetime | None = None,
    commence_to: datetime | None = None,
    after: str | None = None,
    limit: int = MAX_EVENTS,
) -> bytes:
    """Return the coming and running events of `sport` as v4 JSON; one query, see `_answer`.

    Events without a price in `markets` are left out, as there, and so are prices that a source no
    longer offers. `upcoming` stands for all sports; the times have no effect there. At most `limit`
    events, soonest first, of those that come after the event with the id `after`. Exchanges' lay
    prices come with the market that they belong to.
    """
    with_lay = set(markets) | {f"{one}_lay" for one in markets if one in ("h2h", "outrights")}
    asked = {
        "sport": sport,
        "markets": sorted(with_lay),
        "bookmakers": list(bookmakers),
        "commence_from": commence_from,
        "commence_to": commence_to,
        "after": after,
        "limit": limit,
    }
    form = v4.Form(odds_format, date_format)
    which = [_UPCOMING if sport == UPCOMING else _SPORT, _SINCE]
    if after is not None:
        which.append(_AFTER)
    if limit < MAX_EVENTS:
        of_bookmakers = "AND b.key = ANY(%(bookmakers)s::text[])" if bookmakers else ""
        which.append(_PRICED.format(of_bookmakers=of_bookmakers))
    if commence_from is not None and sport != UPCOMING:
        which.append("AND e.commence_time >= %(commence_from)s")
    if commence_to is not None and sport != UPCOMING:
        which.append("AND e.commence_time <= %(commence_to)s")
    listed = f"{LISTED} WHERE {' '.join(which)} {_FIRST}"
    return _answer(
        ("odds", *((name, str(value)) for name, value in asked.items()), form),
        reading(listed, markets=THESE_MARKETS, of_bookmakers=bool(bookmakers)),
        asked,
        form,
        priced=True,
    )


def _answer(
    asked: Hashable, sql: str, parameters: Mapping[str, Any], form: v4.Form, *, priced: bool
) -> bytes:
    """Return all events of the list as JSON: what is held, and the others read in parts.

    One statement where at most `EVENTS_A_STATEMENT` have moved since it was asked last. The list
    is that of the last statement, and each event stands in it as that statement's snapshot has it.
    With `priced` an event without a price on offer is left out.
    """
    known = held.get(asked)
    for most in _PARTS:
        if most == MAX_EVENTS:  # they move faster than parts are read: all of it in one snapshot
            known = Known(b"", {})
        found = read(sql, {**parameters, "most": most}, known)
        names = bytes(found.names)
        same = known.events if names == known.names else {}  # else a title or who is active changed
        writer = v4.Writer(found.decoded_names(), form)
        known = Known(names, dict(_parts(found.events, same, writer, priced=priced)))
        if len(known.events) == len(found.events):
            break
    bodies = [kept.part for kept in known.events.values()]
    held.keep(asked, known, sum(map(len, bodies)))
    return b"[" + b",".join(body for body in bodies if body) + b"]"


def _parts(
    rows: Sequence[Row], known: Mapping[int, Kept[bytes]], writer: v4.Writer, *, priced: bool
) -> Iterator[tuple[int, Kept[bytes]]]:
    for row in rows:
        if row.read is not None:
            yield row.number, Kept(row.revision, writer.event(row.read, priced=priced))
        elif (mine := known.get(row.number)) is not None and mine.revision == row.revision:
            yield row.number, mine
