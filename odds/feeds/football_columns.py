"""Which column of football-data.co.uk's files holds whose price for what, by the header's names.

A name is a bookmaker's code, `C` for closing, and the outcome: `VCH` is VC's home price at opening,
`VCCH` at closing. Codes are accepted only with all their outcomes in the header, because names
overlap: `BFD` is Betfair's draw in 24/25, and Betfred (`BFDH`, `BFDD`, `BFDA`) in 25/26.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from odds.feeds.parsed import Refused
from odds.quotes import DRAW

WINNER = {
    "B365": ("bet365", "Bet365"),
    "BF": ("betfair_sb_uk", "Betfair Sportsbook"),
    "BFD": ("betfred_uk", "Betfred"),
    "BFE": ("betfair_ex_uk", "Betfair Exchange"),
    "BMGM": ("betmgm_uk", "BetMGM"),
    "BS": ("blue_square", "Blue Square"),
    "BV": ("betvictor", "BetVictor"),
    "BW": ("bwin", "bwin"),
    "CL": ("coral", "Coral"),
    "GB": ("gamebookers", "Gamebookers"),
    "IW": ("interwetten", "Interwetten"),
    "LB": ("ladbrokes_uk", "Ladbrokes"),
    "P": ("pinnacle", "Pinnacle"),
    "PS": ("pinnacle", "Pinnacle"),
    "SB": ("sportingbet", "Sportingbet"),
    "SJ": ("stan_james", "Stan James"),
    "SO": ("sporting_odds", "Sporting Odds"),
    "SY": ("stanleybet", "Stanleybet"),
    "VC": ("vc_bet", "VC Bet"),
    "WH": ("williamhill", "William Hill"),
    "1XB": ("onexbet", "1xBet"),
}
"""Code: The Odds API's key where it has one, and title."""
EXCHANGE_CODES = ("BFE",)
NO_BOOKMAKER = ("Max", "Avg", "BbMx", "BbAv")
"""The market's best and mean price: no one quotes them."""
LINE_CODES = ("B365", "BFE", "GB", "LB", "P")

SHAPES = {
    "h2h": (("H", "D", "A"), ("H", DRAW, "A")),
    "totals": ((">2.5", "<2.5"), ("Over", "Under")),
    "spreads": (("AHH", "AHA"), ("Home", "Away")),
}
"""Market: the ends of the columns' names, and the outcomes they stand for."""
OTHERS = (
    (
        {"Winner", "Loser", "WRank"},
        "a file of tennis-data.co.uk: its odds stand by winner and loser, so that the column "
        "gives the result away",
    ),
    (
        {"event_id", "sport_key", "bookmaker_key", "market", "outcome_name", "price"},
        "a recording of The Odds API flattened to a price a line; import the JSON that it was "
        "made from",
    ),
    (
        {"game_id", "bookmaker", "ml_home", "ml_away"},
        "a table of line moves, a bookmaker a line with its winner's, spread's and total's odds; "
        "import The Odds API's JSON that it was made from",
    ),
)
"""Headers of other files with odds: names that are all among theirs, and what such a file is."""
NOT_ODDS = frozenset(
    name
    for names in (
        ("Div", "Date", "Time", "HomeTeam", "AwayTeam", "HT", "AT", "Home", "Away"),
        ("Country", "League", "Season", "FTHG", "FTAG", "FTR", "HG", "AG", "Res", "HTHG", "HTAG"),
        ("HTR", "Attendance", "Referee", "HS", "AS", "HST", "AST", "HHW", "AHW", "HC", "AC", "HF"),
        ("AF", "HFKC", "AFKC", "HO", "AO", "HY", "AY", "HR", "AR", "HBP", "ABP"),
        ("Bb1X2", "BbOU", "BbAH"),
    )
    for name in names
)
"""Names that hold no price: the match, its result, statistics, how many bookmakers Bb counted."""


class PriceColumn(NamedTuple):
    cell: int
    """The index of its cell in a row."""
    name: str
    code: str
    """Football-data's code of the bookmaker."""
    bookmaker: str
    title: str
    market: str
    phase: str
    """`open` or `close`."""
    outcome: str
    """`H`, `Draw`, `A`, `Over`, `Under`, `Home` or `Away`."""
    line: int | None
    """Spreads: the index of the column with the home side's line."""
    shares_line: bool
    """Spreads: all bookmakers' prices of the row are for that one line, taken together."""


class Book(NamedTuple):
    """Columns whose prices make one book: what the plausibility check looks at."""

    cells: tuple[int, ...]
    code: str
    market: str
    phase: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A header, understood. Indexes are of cells; None where there is no such column."""

    names: list[str]
    width: int
    """Cells that the header names; blank names at its end do not count."""
    date: int
    time: int | None
    home: int
    away: int
    league: int
    """The column of the division (`Div`) or the league."""
    country: int | None
    prices: list[PriceColumn]
    books: list[Book]
    """The books of bookmakers and of the market's best and mean prices alike."""
    lines: list[int]
    not_read: list[tuple[int, str, str]]
    """Columns with prices that were not taken: index, name, reason."""

    def index(self, name: str) -> int | None:
        return self.names.index(name) if name in self.names else None


def read_header(cells: list[str]) -> Layout:
    """Understand a header. Raises Refused when it is none of football-data.co.uk's."""
    names = [cell.strip() for cell in cells]
    first = {name: index for index, name in reversed(list(enumerate(names))) if name}
    home = _one_of(first, "HomeTeam", "Home", "HT")
    away = _one_of(first, "AwayTeam", "Away", "AT")
    league = _one_of(first, "Div", "League")
    wanted = {"Date": first.get("Date"), "HomeTeam": home, "AwayTeam": away, "Div": league}
    missing = [name for name, found in wanted.items() if found is None]
    for theirs, what in OTHERS:
        if missing and theirs <= first.keys():
            raise Refused(what)
    if missing or home is None or away is None or league is None:
        raise Refused(
            f"its first line is no header of football-data.co.uk: no {', '.join(missing)} in it"
        )
    prices, books = _price_columns(first)
    if not prices:
        raise Refused("no column of it holds a bookmaker's odds by football-data.co.uk's names")
    return Layout(
        names=names,
        width=max(first.values()) + 1,
        date=first["Date"],
        time=first.get("Time"),
        home=home,
        away=away,
        league=league,
        country=first.get("Country"),
        prices=prices,
        books=books,
        lines=[first[name] for name in ("AHh", "AHCh", "BbAHh") if name in first],
        not_read=_not_read(names, first, prices, books),
    )


def _one_of(first: dict[str, int], *names: str) -> int | None:
    return next((first[name] for name in names if name in first), None)


def _price_columns(first: dict[str, int]) -> tuple[list[PriceColumn], list[Book]]:
    prices: list[PriceColumn] = []
    books: list[Book] = []
    for market, (ends, outcomes) in SHAPES.items():
        codes = WINNER if market == "h2h" else LINE_CODES
        for code in (*codes, *NO_BOOKMAKER):
            for phase, middle in (("open", ""), ("close", "C")):
                names = [f"{code}{middle}{end}" for end in ends]
                if not all(name in first for name in names):
                    continue
                indexes = tuple(first[name] for name in names)
                books.append(Book(indexes, code, market, phase))
                line = _line(first, code, market, phase)
                if code in NO_BOOKMAKER or (market == "spreads" and line is None):
                    continue
                key, title = WINNER[code]
                # The extra leagues' odds are closing ones; newer files name PH there PSCH.
                phase = "close" if code == "P" and "Country" in first else phase
                shared = line in (first.get("AHh"), first.get("AHCh"))
                prices += [
                    PriceColumn(
                        first[name], name, code, key, title, market, phase, outcome, line, shared
                    )
                    for name, outcome in zip(names, outcomes, strict=True)
                ]
    return prices, books


def _line(first: dict[str, int], code: str, market: str, phase: str) -> int | None:
    if market != "spreads":
        return None
    if phase == "close":
        return first.get("AHCh")
    return first.get("AHh", first.get(f"{code}AH"))  # until 2005 each bookmaker had its own line


def _not_read(
    names: list[str], first: dict[str, int], prices: list[PriceColumn], books: list[Book]
) -> list[tuple[int, str, str]]:
    taken = {column.cell for column in prices} | {column.line for column in prices}
    of_market = {index for one in books for index in one.cells if one.code in NO_BOOKMAKER}
    left = []
    for index, name in enumerate(names):
        if not name or index in taken or (name in NOT_ODDS and first[name] == index):
            continue
        if first[name] != index:
            reason = "the name stands twice; the first column was read"
        elif index in of_market or name.startswith((*NO_BOOKMAKER, "Bb")):
            reason = "the market's best or mean price, which no bookmaker quotes"
        elif name in ("AHh", "AHCh"):
            reason = "the line of handicaps that no bookmaker's column here prices"
        else:
            reason = "no column that football-data.co.uk's notes name, or not with its outcomes"
        left.append((index, name, reason))
    return left
