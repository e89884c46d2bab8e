"""The price history of one outcome as an SVG of steps, one line a bookmaker. Pure.

Steps, because a price stands until it moves; SVG from the server, because it needs no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from odds.boards import BoardEvent
from odds.history import Series

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24
COLOURS = 8
"""Classes `.line-0` to `.line-7` of odds.css; beyond, they repeat with dashes."""


@dataclass(frozen=True, slots=True)
class Line:
    title: str
    style: str
    path: str
    opening: float
    newest: float | None
    moves: int


@dataclass(frozen=True, slots=True)
class Chart:
    market: str
    outcome: str
    point: float | None
    choices: list[tuple[str, str, bool]]
    """(label, query, whether it is shown) for every outcome of the market that has a history."""
    lines: list[Line]
    y_ticks: list[tuple[float, str]]
    x_ticks: list[tuple[float, float]]
    """(x, seconds of the Unix epoch)"""
    width: int = WIDTH
    height: int = HEIGHT


def chart(
    history: Sequence[Series],
    event: BoardEvent,
    *,
    market: str,
    outcome: str | None,
    point: float | None,
    titles: Mapping[str, str],
    until_s: float,
) -> Chart | None:
    """Draw `outcome` of `market`, or the market's first; None where nothing has moved yet."""
    mine = [one for one in history if one.market == market and one.bookmaker in titles]
    kinds = sorted(
        {(one.outcome, one.point) for one in mine},
        key=lambda kind: (abs(kind[1] or 0), kind[0] != event.home_team, kind[0]),
    )
    if not kinds:
        return None
    wanted = next((kind for kind in kinds if kind == (outcome, point)), None)
    wanted = wanted or next((kind for kind in kinds if kind[0] == outcome), kinds[0])
    series = [one for one in mine if (one.outcome, one.point) == wanted]
    prices = [price for one in series for _, price in one.changes if price is not None]
    if not prices:
        return None
    start_s = min(one.changes[0][0] for one in series)
    low, high = min(prices), max(prices)
    room = (high - low) * 0.08 or high * 0.02
    scale = _Scale(start_s, max(until_s, start_s + 1), low - room, high + room)
    return Chart(
        market=market,
        outcome=wanted[0],
        point=wanted[1],
        choices=[(_label(kind), _query(market, kind), kind == wanted) for kind in kinds],
        lines=[_line(one, index, titles, scale) for index, one in enumerate(series)],
        y_ticks=[
            (scale.y(value), f"{value:.2f}")
            for value in (low + (high - low) * step / 3 for step in range(4 if high > low else 1))
        ],
        x_ticks=[
            (scale.x(time), time)
            for time in (start_s + (scale.end_s - start_s) * step / 4 for step in range(5))
        ],
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    start_s: float
    end_s: float
    low: float
    high: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.start_s) / (self.end_s - self.start_s)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, price: float) -> float:
        share = (self.high - price) / (self.high - self.low)
        return round(TOP + share * (HEIGHT - TOP - BOTTOM), 1)


def _line(one: Series, index: int, titles: Mapping[str, str], scale: _Scale) -> Line:
    steps: list[str] = []
    offered = False
    for time_s, price in one.changes:
        x = scale.x(time_s)
        if price is None:
            steps.append(f"H{x}")  # it ends here: a gap until it is offered again
        else:
            steps.append(f"H{x}V{scale.y(price)}" if offered else f"M{x} {scale.y(price)}")
        offered = price is not None
    if offered:
        steps.append(f"H{scale.x(scale.end_s)}")
    style = f"line-{index % COLOURS}" + (" dashed" if index >= COLOURS else "")
    path = "".join(steps)
    return Line(
        title=titles[one.bookmaker],
        style=style,
        path=path if path.startswith("M") else "",
        opening=next(price for _, price in one.changes if price is not None)
        if any(price is not None for _, price in one.changes)
        else 0.0,
        newest=one.changes[-1][1],
        moves=len(one.changes) - 1,
    )


def _label(kind: tuple[str, float | None]) -> str:
    return kind[0] if kind[1] is None else f"{kind[0]} {kind[1]:g}"


def _query(market: str, kind: tuple[str, float | None]) -> str:
    values: dict[str, str] = {"market": market, "outcome": kind[0]}
    if kind[1] is not None:
        values["point"] = f"{kind[1]:g}"
    return "?" + urlencode(values) + "#history"
