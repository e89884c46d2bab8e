"""Arbitrage against oracles that were computed by others from real prices, every row of them."""

import csv
import functools
import json
from collections import defaultdict
from decimal import Decimal, InvalidOperation

import pytest

from odds.arbitrage import find_arbitrage
from odds.books import Offer

pytestmark = pytest.mark.samples
TENNIS_BOOKMAKERS = ("B365", "B&W", "CB", "EX", "GB", "IW", "LB", "PS", "SB", "SJ", "UB")
BEST_OF_ALL = {"open": ("Max", "BbMx"), "close": ("MaxC",)}
"""How football-data.co.uk calls the best price that it saw anywhere, by phase."""
OUTCOMES = {"1X2": ("H", "D", "A"), "OU2.5": (">2.5", "<2.5")}


@functools.cache
def price(text):
    try:
        found = Decimal((text or "").strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and found > 1 else None


def rows_of(path):
    """Yield (line, cells by name), the first of two columns with one name."""
    with path.open(encoding="cp1252", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip().removeprefix("ï»¿") for name in next(rows)]
        for line, cells in enumerate(rows, start=2):
            width = min(len(header), len(cells))
            pairs = zip(header[:width], cells[:width], strict=True)
            yield line, dict(reversed(list(pairs)))


def oracle_of(samples, name):
    with (samples / "arbs" / name).open() as file:
        return list(csv.DictReader(file))


def legs_of(arbitrage):
    return {leg.outcome: leg for leg in arbitrage.legs}


def test_every_arbitrage_in_tennis_is_found_with_its_stakes_and_no_other(samples):
    wanted = {(row["file"], int(row["row"])): row for row in oracle_of(samples, "tennis_arbs.csv")}
    found = {}
    for path in sorted((samples / "tennis_data_uk").glob("*.csv")):
        for line, cells in rows_of(path):
            offers = [
                Offer(code, side, None, quoted)
                for code in TENNIS_BOOKMAKERS
                for side in "WL"
                if (quoted := price(cells.get(code + side))) is not None
            ]
            for one in find_arbitrage("h2h", offers, home="W", away="L", sport_key="tennis_atp"):
                found[path.relative_to(samples).as_posix(), line] = one

    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        assert float(found[key].sum_inverse) == pytest.approx(float(row["sum_inverse"]), abs=1e-9)
        assert float(found[key].roi_pct) == pytest.approx(float(row["roi_pct"]), abs=1e-6)
        for place in "12":
            leg = legs_of(found[key])[row[f"o{place}"]]
            assert float(leg.stake_pct) == pytest.approx(float(row[f"stake{place}"]), abs=1e-6)
            assert leg.bookmakers == tuple(sorted(row[f"books{place}"].split("|")))


def test_the_best_prices_that_were_seen_anywhere_give_the_arbitrages_of_the_oracle(samples):
    wanted = defaultdict(dict)
    for row in oracle_of(samples, "football_data_market_max_arbs.csv"):
        key = (int(row["row"]), row["market"], row["phase"])
        wanted[row["file"]][key] = float(row["sum_inverse"]), float(row["roi_pct"])
    for name, oracle in wanted.items():
        found = {
            (line, market, phase): (float(one.sum_inverse), float(one.roi_pct))
            for line, cells in rows_of(samples / name)
            for market, phase, one in of_the_best(cells)
        }
        assert found.keys() == oracle.keys(), name
        for key, value in oracle.items():
            assert found[key] == pytest.approx(value, abs=1e-6), (name, key)


def of_the_best(cells):
    for phase, prefixes in BEST_OF_ALL.items():
        for market, outcomes in OUTCOMES.items():
            for prefix in prefixes:
                prices = [price(cells.get(prefix + outcome)) for outcome in outcomes]
                if all(prices):
                    for one in arbitrage(market, prices):
                        yield market, phase, one
                    break


def arbitrage(market, prices):
    if market == "1X2":
        return find_arbitrage(
            "h2h", offers("Home", "Draw", "Away", prices=prices),
            home="Home", away="Away", sport_key="soccer",
        )  # fmt: skip
    if market == "AH":
        sides = offers("Home", "Away", prices=prices, point=Decimal("0.5"))
        sides[1] = sides[1]._replace(point=Decimal("-0.5"))
        return find_arbitrage("spreads", sides, home="Home", away="Away")
    return find_arbitrage("totals", offers("Over", "Under", prices=prices, point=Decimal("2.5")))


def offers(*outcomes, prices, point=None):
    return [
        Offer("best", outcome, point, quoted)
        for outcome, quoted in zip(outcomes, prices, strict=True)
    ]


def test_two_independent_implementations_agree_with_ours(samples):
    golden = json.loads((samples / "golden" / "arbitrage_crosscheck.json").read_text())

    assert golden["sample"]
    for case in golden["sample"]:
        (one,) = arbitrage(case["market"], [Decimal(str(quoted)) for quoted in case["prices"]])
        theirs, others = case["penaltyblog"], case["independent"]
        total = float(one.sum_inverse)
        assert total == pytest.approx(theirs["total_implied_probability"], abs=1e-12)
        assert total == pytest.approx(float(others["sum_inverse"]), abs=1e-12)
        assert float(one.roi_pct) / 100 == pytest.approx(theirs["guaranteed_return"], abs=1e-12)
        assert float(one.roi_pct) == pytest.approx(float(others["roi_pct"]), abs=1e-6)
        stakes = [float(leg.stake_pct) / 100 for leg in one.legs]
        assert stakes == pytest.approx(theirs["stake_percentages"], abs=1e-12)
