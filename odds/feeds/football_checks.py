"""Whether a row's cells are what the header calls them, judged by what such cells can be.

A newer season pasted under an older header reads without any error: prices merely stand under
another bookmaker, a line of the handicap is 1.95, a number of red cards 2.4. Each row is therefore
asked up to 90 small questions, of which a good row fails one or two (typing errors) and a shifted
one many, or fails those that no typing error explains.
"""

from __future__ import annotations

from functools import lru_cache

from odds.feeds.football_columns import EXCHANGE_CODES, Layout

BOOK_SUM = (0.80, 1.40)
"""The sum of the inverses of one bookmaker's prices: 1 and a margin, or a typing error."""
LONGEST_LINE = 8
"""Goals; no handicap was ever larger."""
ABOVE_BEST = 1.1
"""A bookmaker's price may pass the market's best, taken at another minute, by less than this."""
WHOLE = (
    *("FTHG", "FTAG", "HG", "AG", "HTHG", "HTAG", "HS", "AS", "HST", "AST", "HC", "AC", "HF", "AF"),
    *("HO", "AO", "HY", "AY", "HR", "AR", "HBP", "ABP", "HHW", "AHW", "HFKC", "AFKC"),
    *("Attendance", "Bb1X2", "BbOU", "BbAH"),
)
RESULTS = (("FTR", "FTHG", "FTAG"), ("Res", "HG", "AG"), ("HTR", "HTHG", "HTAG"))

MANY_WRONG = 0.12
"""Share of failed questions from which a row is taken to be shifted; good rows stay below 0.1."""
HARD_EVIDENCE = 2
"""As many questions of unlike kind that only a shift explains."""


class RowCheck:
    """The questions that one layout allows, compiled once. About 30 us a row."""

    def __init__(self, layout: Layout) -> None:
        at = layout.index
        self.width = layout.width
        self.whole = [index for name in WHOLE if (index := at(name)) is not None]
        self.results = [
            (result, home, away)
            for names in RESULTS
            for result, home, away in [tuple(map(at, names))]
            if result is not None and home is not None and away is not None
        ]
        self.referee = at("Referee")
        self.lines = layout.lines
        self.books = [one.cells for one in layout.books]
        best = {(one.market, one.phase): one.cells for one in layout.books if one.code == "Max"}
        self.below_best = [
            (
                tuple(zip(one.cells, best[one.market, one.phase], strict=True)),
                max(*one.cells, *best[one.market, one.phase]),
            )
            for one in layout.books
            if (one.market, one.phase) in best and one.code not in (*EXCHANGE_CODES, "Max")
        ]

    def looks_shifted(self, cells: list[str]) -> bool:
        """Say whether the row's cells cannot be what the header calls them."""
        hard, wrong, asked = self.answers(cells)
        return hard >= HARD_EVIDENCE or (wrong >= 2 and wrong >= MANY_WRONG * asked)

    def has_prices_beyond(self, cells: list[str]) -> bool:
        """Say whether prices stand where the header names no column any more."""
        return any("." in cell and _number(cell) > 1 for cell in cells[self.width :])

    def answers(self, cells: list[str]) -> tuple[int, int, int]:
        """Return how many kinds of hard evidence, wrong answers and questions there are."""
        numbers = [_number(cell) for cell in cells]
        whole_wrong, whole_asked = self._whole(cells, numbers)
        result_wrong, result_asked = self._results(cells, numbers)
        line_wrong, line_asked = self._lines(numbers)
        book_wrong, book_asked, below_one = self._books(numbers)
        best_wrong, best_asked = self._below_best(numbers)
        referee = self.referee
        by_number = referee is not None and referee < len(cells) and cells[referee] != ""
        by_number = by_number and numbers[referee or 0] == numbers[referee or 0]
        hard = (whole_wrong, result_wrong, line_wrong, below_one, by_number)
        return (
            sum(1 for evidence in hard if evidence),
            whole_wrong + result_wrong + line_wrong + book_wrong + best_wrong + by_number,
            whole_asked + result_asked + line_asked + book_asked + best_asked + by_number,
        )

    def _whole(self, cells: list[str], numbers: list[float]) -> tuple[int, int]:
        wrong = asked = 0
        for index in self.whole:
            if index < len(cells) and cells[index]:
                asked += 1
                wrong += not (cells[index].isdigit() or numbers[index].is_integer())
        return wrong, asked

    def _results(self, cells: list[str], numbers: list[float]) -> tuple[int, int]:
        wrong = asked = 0
        for result, home, away in self.results:
            if max(result, home, away) < len(cells) and cells[result] and cells[home]:
                asked += 1
                ours, theirs = numbers[home], numbers[away]
                wrong += cells[result] != ("H" if ours > theirs else "A" if ours < theirs else "D")
        return wrong, asked

    def _lines(self, numbers: list[float]) -> tuple[int, int]:
        wrong = asked = 0
        for index in self.lines:
            if index < len(numbers) and numbers[index] == numbers[index]:  # NaN: no number
                asked += 1
                wrong += bool(numbers[index] * 4 % 1) or abs(numbers[index]) > LONGEST_LINE
        return wrong, asked

    def _books(self, numbers: list[float]) -> tuple[int, int, int]:
        wrong = asked = below_one = 0
        width = len(numbers)
        for cells in self.books:
            if cells[-1] >= width or cells[0] >= width:
                continue
            prices = [numbers[cell] for cell in cells]
            if min(prices) > 1:
                asked += 1
                total = 0.0
                for price in prices:
                    total += 1 / price
                if not BOOK_SUM[0] < total < BOOK_SUM[1]:
                    wrong += 1
                continue
            below = above = False
            for price in prices:
                below = below or price <= 1
                above = above or price > 1
            if below and above:
                asked += 1
                wrong += 1
                below_one += 1
        return wrong, asked, below_one

    def _below_best(self, numbers: list[float]) -> tuple[int, int]:
        wrong = asked = 0
        width = len(numbers)
        for pairs, last in self.below_best:
            if last >= width:
                continue
            asked += 1
            for cell, most in pairs:
                if numbers[cell] > numbers[most] * ABOVE_BEST:
                    wrong += 1
                    break
        return wrong, asked


@lru_cache(maxsize=1 << 14)
def _number(cell: str) -> float:
    """Return the cell as a float; NaN, which compares false with everything, for what is none."""
    try:
        return float(cell)
    except ValueError:
        return _NAN


_NAN = float("nan")
