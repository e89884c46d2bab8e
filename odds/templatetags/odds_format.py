"""How the visitor's pages write prices, times and ages; and the cells of a board, fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from odds.comparing import Offer
from odds.opportunities import Quoter
from performance.core import units

register = template.Library()

AGING_S = 120
OLD_S = 900
MARKETS = {
    "h2h": "Winner",
    "h2h_3_way": "Winner, three-way",
    "h2h_lay": "Winner, lay",
    "spreads": "Handicap",
    "totals": "Totals",
    "outrights": "Outright",
    "outrights_lay": "Outright, lay",
    "draw_no_bet": "Draw no bet",
    "double_chance": "Double chance",
    "btts": "Both teams to score",
    "alternate_spreads": "Handicap, other lines",
    "alternate_totals": "Totals, other lines",
    "team_totals": "Team totals",
}


@register.filter
def price(value: float | Decimal | None) -> str:
    """Decimal odds with two places, three where they differ: `2.10`, `1.909`; None is `–`."""
    if value is None:
        return "–"
    text = f"{value:.3f}"
    return text[:-1] if text.endswith("0") else text


@register.filter
def point(value: float | Decimal | None) -> str:
    """A line without needless zeros: `2.5`, `-0.25`; None is nothing."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else f"{value:f}"


@register.filter
def handicap(value: float | Decimal | None) -> str:
    """A handicap with its sign: `+0.5`, `-1`, `0`."""
    text = point(value)
    return f"+{text}" if value is not None and value > 0 else text


@register.filter
def percent(value: float | Decimal | None) -> str:
    return "–" if value is None else f"{value:.2f} %"


@register.filter
def margin(value: float | None) -> str:
    """A book's overround with its sign: `+5.2 %`, `-1.0 %`; None is `–`."""
    return "–" if value is None else f"{value:+.1f} %"


@register.filter
def money(value: Decimal | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


@register.filter
def moment(epoch_s: float | None) -> datetime | None:
    """Seconds of the Unix epoch as an aware UTC datetime, for the `date` filter."""
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)


@register.filter
def age(epoch_s: float | None, now_s: float) -> str:
    """How long ago, by the clock that the answer was read with: `12 s`, `3 min`."""
    return "–" if epoch_s is None else units.format_age(max(0.0, now_s - epoch_s))


@register.filter
def until(epoch_s: float, now_s: float) -> str:
    """Time to the start: `in 3 h`, or `in play`."""
    return "in play" if epoch_s <= now_s else f"in {units.format_age(epoch_s - now_s)}"


@register.filter
def market(key: str) -> str:
    """A market's name for people; unknown keys are written out."""
    return MARKETS.get(key) or key.replace("_", " ").capitalize()


def offer_cells(
    cells: Iterable[tuple[str, Offer | None]], best: float | None, now_s: float
) -> SafeString:
    """The cells of one outcome, a column a bookmaker. A board has a thousand: hence no template."""
    return mark_safe("".join(_cell(_escaped(book), offer, best, now_s) for book, offer in cells))


_escaped = lru_cache(maxsize=1024)(escape)


def _cell(book: str, offer: Offer | None, best: float | None, now_s: float) -> str:
    if offer is None:
        return f'<td class="p none" data-book="{book}">–</td>'
    if offer.suspended:
        return (
            f'<td class="p susp" data-book="{book}" title="Suspended: not offered now">susp.</td>'
        )
    old_s = now_s - offer.confirmed_at
    state = " old" if old_s > OLD_S else " aging" if old_s > AGING_S else ""
    shown = price(offer.price)
    if offer.price == best:
        state += " best"
        shown = f"<b>{shown}</b>"
    return (
        f'<td class="p{state}" data-book="{book}" data-at="{offer.confirmed_at}"'
        f' title="{book}, confirmed {units.format_age(max(0.0, old_s))} ago">{shown}</td>'
    )


@register.filter
def quoter_title(quoters: Mapping[str, Quoter], key: str) -> str:
    """The bookmaker's title, or its key where it is no longer shown."""
    found = quoters.get(key)
    return found.title if found else key
