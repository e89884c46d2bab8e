"""The visitor's pages as HTML: no request, no cookie, no token, so that anyone may keep a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from odds import charts
from odds.boards import PAGE_EVENTS, Board, BoardEvent, SportRow
from odds.comparing import Offer, Outcome, Table
from odds.fair import fair_prices, overrounds
from odds.filters import FEATURED
from odds.history import Series
from odds.opportunities import Listed, Listing
from odds.stakes import Calculation, calculate


@dataclass(frozen=True, slots=True)
class Row:
    """One outcome of an event: an offer, or None, for each column of the board."""

    outcome: Outcome
    cells: list[tuple[str, Offer | None]]
    best_at: list[str]
    """Titles of the bookmakers that offer the best price."""
    best_confirmed_at: int | None
    fair: float | None


@dataclass(frozen=True, slots=True)
class Section:
    """One table of an event, ready to be drawn."""

    event: BoardEvent
    table: Table
    rows: list[Row]
    margins: list[tuple[str, float | None]]
    """(bookmaker, overround in percent) for each column; None: it does not price everything."""
    best_margin: float | None


def board(
    found: Board,
    sports: Sequence[SportRow],
    *,
    sport: str,
    market: str,
    bookmakers: Sequence[str],
    page: int,
    all_bookmakers: dict[str, str],
) -> str:
    pages = max(1, -(-found.total // PAGE_EVENTS))
    sections = [
        section(event, table, found.bookmakers) for event in found.events for table in event.tables
    ]
    own = {"sport": sport, "bookmakers": list(bookmakers)}
    here = next(row for row in sports if row.key == sport)
    groups = _groups(sports)
    outrights = here.has_outrights or market == "outrights"
    markets = [key for key in FEATURED if key != "outrights" or outrights]
    return render(
        "odds/board.html",
        {
            "nav": "odds",
            "board": found,
            "tables": tables(sections, found.as_of, linked=True),
            "columns": drawn("_columns", market=market, columns=found.bookmakers),
            "sport": here,
            "sports_nav": drawn("_sports", groups=groups, sport=here),
            "sport_options": drawn("_sport_options", groups=groups, sport=here),
            "market": market,
            "tabs": _tabs(markets, market, own),
            "chosen": list(bookmakers),
            "books": _books(tuple(all_bookmakers.items()), tuple(bookmakers)),
            "page": page,
            "pages": pages,
            "previous": query({**own, "market": market, "page": page - 1}) if page > 1 else "",
            "next": query({**own, "market": market, "page": page + 1}) if page < pages else "",
            "live": query({"sport": sport}),
        },
    )


def event(
    found: Board,
    history: Sequence[Series],
    *,
    bookmakers: Sequence[str],
    all_bookmakers: dict[str, str],
    market: str | None,
    outcome: str | None,
    point: Decimal | None,
) -> str:
    one = found.events[0]
    sections = [section(one, table, found.bookmakers) for table in one.tables]
    markets = list(dict.fromkeys(table.market for table in one.tables))
    markets.sort(key=lambda key: (FEATURED.index(key) if key in FEATURED else 9, key))
    shown = market if market in markets else (markets[0] if markets else "")
    wanted = (outcome, None if point is None else float(point))
    chart = _chart(found, history, shown, wanted)
    return render(
        "odds/event.html",
        {
            "nav": "odds",
            "board": found,
            "event": one,
            "tables": tables(
                [part for part in sections if part.table.market == shown], found.as_of, fair=True
            ),
            "columns": drawn("_columns", market=shown, columns=found.bookmakers, fair=True),
            "market": shown,
            "tabs": _tabs(markets, shown, {"market": "", "bookmakers": list(bookmakers)}),
            "chosen": list(bookmakers),
            "books": _books(tuple(all_bookmakers.items()), tuple(bookmakers)),
            "chart": chart,
            "history": drawn("_history", chart=chart, event_id=one.id) if chart else "",
            "live": query({"event": one.id}),
        },
    )


def arbitrage(
    listing: Listing,
    chosen: Sequence[Listed],
    sports: Sequence[SportRow],
    *,
    filters: dict[str, Any],
    bankroll: Decimal,
    selected: Listed | None,
    gone: bool,
) -> str:
    """`gone` says that the asked-for opportunity is not open any more."""

    def card(one: Listed) -> dict[str, Any]:
        found: Calculation | None = calculate(one, bankroll, listing.bookmakers)
        return {
            "one": one,
            "calculation": found,
            "url": query({**filters, "bankroll": bankroll, "id": one.id}) + "#calculator",
        }

    def cards(shown: list[dict[str, Any]]) -> SafeString:
        return drawn("_opportunities", cards=shown, listing=listing, bankroll=bankroll)

    titles = tuple((key, one.title) for key, one in listing.bookmakers.items())
    return render(
        "odds/arbitrage.html",
        {
            "nav": "arbitrage",
            "listing": listing,
            "clear": cards([card(one) for one in chosen if not one.suspect]),
            "doubtful": cards([card(one) for one in chosen if one.suspect]),
            "selected": card(selected) if selected else None,
            "gone": gone,
            "bankroll": bankroll,
            "filters": filters,
            "sports": [row for row in sports if row.event_count],
            "books": _books(titles, tuple(filters["bookmakers"])),
            "live": query({"arbitrage": 1}),
        },
    )


def refused(message: str, *, title: str, status: int, allowed: Sequence[str] | str = ()) -> str:
    """The page for a link that cannot be answered as it stands."""
    return render(
        "odds/refused.html",
        {
            "title": title,
            "message": message,
            "status": status,
            "allowed": [allowed] if isinstance(allowed, str) and allowed else allowed,
        },
    )


def tables(
    sections: Sequence[Section], as_of: float, *, linked: bool = False, fair: bool = False
) -> SafeString:
    """Draw the bodies of a board: with links to the events, or with a column of fair prices.

    About 3 ms for a board of 25 events and 12 bookmakers.
    """
    return drawn("_tables", sections=sections, as_of=as_of, linked=linked, fair=fair)


def drawn(part: str, **context: Any) -> SafeString:
    """Draw a part of a page with Jinja2, in a fifth of the time that Django's templates take."""
    return mark_safe(render_to_string(f"odds/{part}.jinja", context, using="jinja2"))


@lru_cache(maxsize=256)  # the same on every page until a bookmaker comes or goes
def _books(titles: tuple[tuple[str, str], ...], chosen: tuple[str, ...]) -> SafeString:
    return drawn("_books", bookmakers=titles, chosen=chosen)


def render(template_name: str, context: dict[str, Any]) -> str:
    return render_to_string(template_name, context)


def query(values: dict[str, Any]) -> str:
    """Return `?a=1&b=2` without what is empty or the default, so that one page has one address."""
    kept = {
        key: value
        for key, value in values.items()
        if value not in (None, "", [], (), 0)
        and (key, value) not in (("page", 1), ("market", "h2h"))
    }
    return "?" + urlencode(kept, doseq=True)


def section(event: BoardEvent, table: Table, columns: dict[str, str]) -> Section:
    inverses = table.inverses()
    margins = overrounds(inverses)
    fair = fair_prices(table)
    rows = []
    for outcome in table.outcomes:
        by_book = {offer.bookmaker: offer for offer in outcome.offers}
        at_best = [
            offer for offer in outcome.offers if not offer.suspended and offer.price == outcome.best
        ]
        rows.append(
            Row(
                outcome=outcome,
                cells=[(key, by_book.get(key)) for key in columns],
                best_at=sorted((columns[offer.bookmaker] for offer in at_best), key=str.lower),
                best_confirmed_at=max((offer.confirmed_at for offer in at_best), default=None),
                fair=fair.get(outcome.name),
            )
        )
    return Section(
        event=event,
        table=table,
        rows=rows,
        margins=[(key, margins.get(key)) for key in columns],
        best_margin=None if table.best_inverse is None else (table.best_inverse - 1) * 100,
    )


def _chart(
    found: Board, history: Sequence[Series], market: str, wanted: tuple[str | None, float | None]
) -> charts.Chart | None:
    """Draw the outcome and line that are wanted, or the market's first."""
    outcome, point = wanted
    return charts.chart(
        history,
        found.events[0],
        market=market,
        outcome=outcome,
        point=point,
        titles=found.bookmakers,
        until_s=found.as_of,
    )


def _tabs(markets: Sequence[str], shown: str, own: dict[str, Any]) -> list[dict[str, Any]]:
    """One tab a market; `own` is what the links keep of this page's query, in its order."""
    return [
        {"key": key, "url": query({**own, "market": key}), "here": key == shown} for key in markets
    ]


def _groups(sports: Sequence[SportRow]) -> list[tuple[str, list[SportRow]]]:
    """Sports that have events, by their group, both by name."""
    groups: dict[str, list[SportRow]] = {}
    for row in sports:
        if row.event_count:
            groups.setdefault(row.group or "Other", []).append(row)
    return sorted(groups.items())
