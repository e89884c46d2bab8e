"""What visitors read, as cached families: the API's answers and the pages, each as final bytes.

A price is never served more than 60 s after it was read from the database: when it cannot be read
again by then, the answer is an error. Ingest invalidates `sport:<key>`, `event:<key>` and
`arbitrage` after each batch, so what is served is normally younger than the last batch; a crowd is
given answers of before it for OUTDATED_S at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from odds import answers, boards, opportunities, screens
from odds.bad_requests import BadRequest, unknown
from odds.boards import Board, SportRow
from odds.fair import fair_prices, overrounds
from odds.filters import FEATURED
from odds.history import Series, moves, series, settled_until_s
from odds.opportunities import Listing
from odds.stamps import confirmed_s, without_clock
from performance.caching.services import RefreshFailed, cached

PRICE_LIMIT_S = 60
TTL_S = 5
STALE_S = 10
"""While it is refreshed behind; a batch makes it a miss long before."""
OUTDATED_S = 2
"""A crowd is given answers of up to this age while the next is made; sockets tell at once."""
WARM_SPORTS = 5

_PRICES: dict[str, Any] = {
    "ttl_s": TTL_S,
    "stale_s": STALE_S,
    "max_stale_s": PRICE_LIMIT_S - TTL_S,
    "memory_s": 1,
    "schema": bytes,
    "cdn": "public",
    "raises": (BadRequest,),
    "audited": without_clock,
}

Keys = tuple[str, ...]


def busiest_sports(limit: int = WARM_SPORTS) -> list[str]:
    """Return the sports with the most coming and running events; none without events."""
    rows = sorted(sport_rows(), key=lambda row: (-row.event_count, row.key))
    return [row.key for row in rows[:limit] if row.event_count]


def sport_rows() -> list[SportRow]:
    return msgspec.json.decode(sports(), type=list[SportRow])


def sport_row(key: str) -> SportRow:
    """Return the sport, or raise the 404 that names the nearest."""
    rows = {row.key: row for row in sport_rows()}
    if key not in rows:
        raise unknown("sport", key, list(rows), what="sport")
    return rows[key]


@cached(
    "sports",
    ttl_s=5,
    stale_s=60,
    max_stale_s=3600,
    memory_s=1,
    schema=bytes,
    cdn="public",
    warm=lambda: [()],
)
def sports() -> bytes:
    return boards.sports()


@cached("front_sport", ttl_s=5, stale_s=60, max_stale_s=3600, memory_s=1, schema=str)
def front_sport() -> str:
    """The sport that the front page shows: the busiest one; "" without any.

    A family of its own, because the front page's tag is that sport's, and tags are asked for at
    each read: from memory this is as cheap as they must be.
    """
    rows = sport_rows()
    return next(iter(busiest_sports(1)), "") or (rows[0].key if rows else "")


def _board_tags(sport: str, *rest: Any) -> list[str]:
    """The front page carries its sport's tag. When another sport becomes the busiest one, the tag
    is another, whose generation the stored page does not carry: so it is a miss."""
    try:
        shown = sport or front_sport()
    except RefreshFailed:  # nobody knows: a page without the tag is never stored under it
        return []
    return [f"sport:{shown}"] if shown else []


def _warm_odds() -> Iterator[tuple[Any, ...]]:
    for key in busiest_sports():
        yield (key, ("h2h",), (), "decimal", "iso", None, None, None, answers.MAX_EVENTS)


@cached(
    "odds",
    **_PRICES,
    tags=lambda sport, *rest: [] if sport == answers.UPCOMING else [f"sport:{sport}"],
    warm=_warm_odds,
)
def odds(
    sport: str,
    markets: Keys,
    bookmakers: Keys,
    odds_format: str,
    date_format: str,
    commence_from: datetime | None,
    commence_to: datetime | None,
    after: str | None,
    limit: int,
) -> bytes:
    """The API's odds in The Odds API v4's shape."""
    if sport != answers.UPCOMING:
        sport_row(sport)
    found = answers.odds(
        sport,
        markets=markets,
        bookmakers=bookmakers,
        odds_format=odds_format,  # type: ignore[arg-type]  # the filters' literals
        date_format=date_format,  # type: ignore[arg-type]
        commence_from=commence_from,
        commence_to=commence_to,
        after=after,
        limit=limit,
    )
    if found == b"[]" and after is not None and after not in (near := boards.near_events(after)):
        message = f"There is no event {after!r}; it must be the last id of the page before."
        raise BadRequest("after", after, message, near or "an id that /api/v1/odds gives", 404)
    return found


@cached("event", **_PRICES, tags=lambda key, *rest: [f"event:{key}"])
def event(key: str, bookmakers: Keys, with_history: bool) -> bytes:
    """The API's event: v4's object, with what we compare, and the history where it is wanted."""
    found = _board_of_event(key, bookmakers)
    (v4,) = msgspec.json.decode(
        answers.event_odds(key, bookmakers=bookmakers), type=list[dict[str, msgspec.Raw]]
    )
    extra: dict[str, Any] = {"as_of": found.as_of, "compared": _compared(found)}
    if with_history:
        extra["history"] = _history(found)
    return msgspec.json.encode({**v4, **extra})


@cached(
    "arbitrage",
    **_PRICES,
    tags=lambda *rest: ["arbitrage"],
    warm=lambda: [(None, (), Decimal(0), False)],
)
def arbitrage(sport: str | None, bookmakers: Keys, min_roi: Decimal, hide_suspect: bool) -> bytes:
    """The API's list of open opportunities: a `Listing` as JSON."""
    if sport is not None:
        sport_row(sport)
    listing = msgspec.json.decode(opportunities.opportunities(), type=Listing)
    chosen = opportunities.choose(
        listing.opportunities,
        sport=sport,
        bookmakers=bookmakers,
        min_roi=min_roi,
        hide_suspect=hide_suspect,
    )
    return encode(msgspec.structs.replace(listing, opportunities=chosen))


encode = msgspec.json.Encoder(decimal_format="number").encode
"""Prices and percents leave as JSON numbers, exactly as they are stored."""


def _warm_boards() -> Iterator[tuple[Any, ...]]:
    yield ("", "h2h", (), 1)
    for key in busiest_sports():
        yield (key, "h2h", (), 1)


@cached("board_total", ttl_s=15, stale_s=60, max_stale_s=600, memory_s=5, schema=int)
def board_total(sport: str, market: str) -> int:
    """How many events a board has: no batch invalidates it, so that a miss need not count anew."""
    return boards.board_total(sport, market)


@cached(
    "board_page",
    **_PRICES,
    dated=confirmed_s,
    tags=_board_tags,
    warm=_warm_boards,
)
def board_page(sport: str, market: str, bookmakers: Keys, page: int) -> bytes:
    """The odds board as HTML; without a sport that of the busiest one."""
    rows = sport_rows()
    key = sport or front_sport()
    if not key:
        return screens.render("odds/no_sports.html", {"nav": "odds"}).encode()
    sport_row(key)
    found = boards.board(
        key, market=market, bookmakers=bookmakers, page=page, total=board_total(key, market)
    )
    return screens.board(
        found,
        rows,
        sport=key,
        market=market,
        bookmakers=bookmakers,
        page=page,
        all_bookmakers=boards.bookmakers(),
    ).encode()


@cached("event_page", **_PRICES, tags=lambda key, *rest: [f"event:{key}"], dated=confirmed_s)
def event_page(
    key: str, bookmakers: Keys, market: str | None, outcome: str | None, point: Decimal | None
) -> bytes:
    """An event's page as HTML."""
    found = _board_of_event(key, bookmakers)
    return screens.event(
        found,
        _history(found),
        bookmakers=bookmakers,
        all_bookmakers=boards.bookmakers(),
        market=market,
        outcome=outcome,
        point=point,
    ).encode()


@cached(
    "arbitrage_page",
    **_PRICES,
    tags=lambda *rest: ["arbitrage"],
    warm=lambda: [(None, (), Decimal(0), False)],
)
def arbitrage_page(
    sport: str | None, bookmakers: Keys, min_roi: Decimal, hide_suspect: bool
) -> bytes:
    """The list of opportunities as HTML, with stakes for a bankroll of 100."""
    return draw_arbitrage(
        sport, bookmakers, min_roi, hide_suspect, bankroll=Decimal(100), wanted=None
    )


def draw_arbitrage(
    sport: str | None,
    bookmakers: Keys,
    min_roi: Decimal,
    hide_suspect: bool,
    *,
    bankroll: Decimal,
    wanted: int | None,
) -> bytes:
    """Draw the list for any bankroll, with the calculator for the opportunity `wanted`.

    Not cached itself, since anyone may ask for any amount; what it reads is.
    """
    listing = msgspec.json.decode(arbitrage(sport, bookmakers, min_roi, hide_suspect), type=Listing)
    everything = listing
    if wanted is not None and (sport or bookmakers or min_roi or hide_suspect):
        everything = msgspec.json.decode(arbitrage(None, (), Decimal(0), False), type=Listing)
    selected = next((one for one in everything.opportunities if one.id == wanted), None)
    return screens.arbitrage(
        listing,
        listing.opportunities,
        sport_rows(),
        filters={
            "sport": sport,
            "bookmakers": list(bookmakers),
            "min_roi": min_roi or None,
            "suspect": "hide" if hide_suspect else None,
        },
        bankroll=bankroll,
        selected=selected,
        gone=wanted is not None and selected is None,
    ).encode()


@cached("past_moves", ttl_s=3600, stale_s=3600, max_stale_s=86_400, memory_s=0, schema=bytes)
def past_moves(key: str, since_s: int, until_s: int) -> bytes:
    """How an event's prices moved on days that are over: nothing invalidates it."""
    return moves(key, since_s, until_s)


def _history(found: Board) -> list[Series]:
    event = found.events[0]
    since_s, until_s = (int(second) for second in event.recorded_s)
    settled_s = settled_until_s()
    older = past_moves(event.id, since_s, settled_s) if since_s < settled_s else b"[]"
    newer = moves(event.id, max(since_s, settled_s)) if until_s > settled_s else b"[]"
    return series(event.lines, newer, older, found.bookmakers)


def _board_of_event(key: str, bookmakers: Keys) -> Board:
    """Return the event's board, or raise the 404 with ids that begin alike."""
    found = boards.event(key, bookmakers=bookmakers)
    if not found.events:
        near = boards.near_events(key)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        allowed = near or "an id that /api/v1/odds gives"
        raise BadRequest("event_id", key, f"There is no event {key!r}.{hint}", allowed, 404)
    return found


def _compared(found: Board) -> list[dict[str, Any]]:
    """Say of each table what is best, what is fair, what is suspended, and each book's margin."""
    compared = []
    for table in found.events[0].tables:
        fair = fair_prices(table)
        margins = overrounds(table.inverses())
        compared.append(
            {
                "market": table.market,
                "line": table.line,
                "with_draw": table.draw,
                "best_overround_pct": table.best_inverse
                and round((table.best_inverse - 1) * 100, 4),
                "overround_pct": {key: round(value, 4) for key, value in margins.items()},
                "outcomes": [
                    {
                        "name": one.name,
                        "point": one.point,
                        "best": one.best,
                        "best_at": [
                            offer.bookmaker
                            for offer in one.offers
                            if offer.price == one.best and not offer.suspended
                        ],
                        "fair": fair.get(one.name) and round(fair[one.name], 4),
                        "suspended_at": [
                            offer.bookmaker for offer in one.offers if offer.suspended
                        ],
                    }
                    for one in table.outcomes
                ],
            }
        )
    compared.sort(key=lambda one: FEATURED.index(one["market"]) if one["market"] in FEATURED else 9)
    return compared
