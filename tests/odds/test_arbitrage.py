from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odds.arbitrage import find_arbitrage, plan_stakes
from odds.books import Offer

EVEN = {"home": Decimal("2.10"), "away": Decimal("2.10")}
THREE_WAY = {"home": Decimal("3.40"), "draw": Decimal("3.90"), "away": Decimal("2.55")}
TEAMS = {"home": "Leeds", "away": "Derby"}
prices = st.decimals(min_value="1.01", max_value="50", places=2)


def offers(*quoted):
    return [
        Offer(bookmaker, outcome, None if point is None else Decimal(point), Decimal(price))
        for bookmaker, outcome, point, price in quoted
    ]


@pytest.mark.parametrize("book", [EVEN, THREE_WAY], ids=["even", "three-way"])
def test_every_outcome_pays_at_least_the_promised_profit(book):
    plan = plan_stakes(book, bankroll=Decimal("1000"))

    spent = sum(plan.stakes.values())
    for outcome, price in book.items():
        assert plan.stakes[outcome] * price - spent >= plan.profit > 0


def test_no_plan_when_the_book_is_fair():
    assert plan_stakes({"home": Decimal("2.00"), "away": Decimal("2.00")}, Decimal("100")) is None
    assert plan_stakes(dict.fromkeys("abc", Decimal(3)), Decimal("100")) is None


def test_no_plan_when_rounding_to_cents_eats_the_profit():
    hairline = {"home": Decimal("2.001"), "away": Decimal("2.001")}

    assert plan_stakes(hairline, bankroll=Decimal("1")) is None


@given(st.lists(prices, min_size=2, max_size=6), st.decimals("0.01", "100000", places=2))
def test_a_plan_never_loses_and_never_spends_more_than_there_is(book, bankroll):
    quoted = {str(place): price for place, price in enumerate(book)}
    plan = plan_stakes(quoted, bankroll)

    if plan is not None:
        spent = sum(plan.stakes.values())
        assert spent <= bankroll
        assert all(plan.stakes[o] * p - spent >= plan.profit > 0 for o, p in quoted.items())


@pytest.mark.parametrize("bankroll", ["0", "-1", "NaN", "0.001"])
def test_a_bankroll_that_is_none_is_refused(bankroll):
    with pytest.raises(ValueError, match="bankroll"):
        plan_stakes(EVEN, Decimal(bankroll))


def test_three_times_three_is_no_arbitrage_although_floats_and_decimals_say_so():
    book = offers(("a", "Leeds", None, "3"), ("b", "Draw", None, "3"), ("c", "Derby", None, "3"))
    book = [Offer(*offer[:3], offer.price) for offer in book]

    assert sum(1 / Decimal(3) for _ in range(3)) < 1
    assert find_arbitrage("h2h_3_way", book, **TEAMS) == []


def test_american_minus_110_against_plus_110_is_no_arbitrage():
    book = [
        Offer("a", "Leeds", None, Fraction(21, 11)),
        Offer("b", "Derby", None, Fraction(21, 10)),
    ]

    assert find_arbitrage("h2h", book, **TEAMS) == []


@given(st.lists(st.tuples(prices, prices, prices), min_size=1, max_size=5), st.randoms())
def test_stakes_pay_the_same_whatever_happens_and_order_does_not_matter(rows, random):
    book = [
        Offer(f"b{place}", outcome, None, price)
        for place, row in enumerate(rows)
        for outcome, price in zip(("Leeds", "Draw", "Derby"), row, strict=True)
    ]
    found = find_arbitrage("h2h", book, sport_key="soccer_epl", **TEAMS)
    best = [max(row[place] for row in rows) for place in range(3)]

    total = sum(1 / Fraction(price) for price in best)
    assert bool(found) == (total < 1)
    for arbitrage in found:
        payouts = {leg.stake_pct * Fraction(leg.price) for leg in arbitrage.legs}
        assert payouts == {100 + arbitrage.roi_pct}
        assert sum(leg.stake_pct for leg in arbitrage.legs) == 100
        random.shuffle(book)
        assert find_arbitrage("h2h", book, sport_key="soccer_epl", **TEAMS) == found


def test_two_outcomes_do_not_cover_a_football_match():
    book = offers(("a", "Leeds", None, "2.5"), ("b", "Derby", None, "2.5"))

    assert find_arbitrage("h2h", book, sport_key="soccer_epl", **TEAMS) == []
    assert find_arbitrage("h2h", book, sport_key="tennis_atp", **TEAMS) != []


def test_two_way_and_three_way_prices_of_one_event_are_kept_apart():
    book = offers(
        ("two", "Leeds", None, "2.05"),
        ("two", "Derby", None, "1.8"),
        ("three", "Leeds", None, "2.4"),
        ("three", "Draw", None, "4"),
        ("three", "Derby", None, "2.2"),
    )

    # 2.4 at the bookmaker with a draw and 1.8 at the one without would leave the draw open.
    assert find_arbitrage("h2h", book, sport_key="icehockey_nhl", **TEAMS) == []
    book += offers(("other", "Derby", None, "2.1"))
    [found] = find_arbitrage("h2h", book, sport_key="icehockey_nhl", **TEAMS)
    assert (found.ways, found.can_push) == (2, True)


@pytest.mark.parametrize("market", ["h2h_lay", "outrights_lay", "outrights", "spreads_lay"])
def test_lay_prices_and_open_fields_are_never_a_book(market):
    book = offers(("a", "Leeds", None, "5"), ("b", "Derby", None, "5"))

    assert find_arbitrage(market, book, **TEAMS) == []


def test_a_spread_stands_only_against_its_mirror_image():
    book = offers(("a", "Leeds", "-0.25", "2.1"), ("b", "Derby", "0.25", "2.1"))
    [found] = find_arbitrage("spreads", book, **TEAMS)

    assert (found.line, found.is_quarter, found.can_push) == (Decimal("-0.25"), True, True)
    assert (
        find_arbitrage(
            "spreads",
            offers(("a", "Leeds", "-0.25", "2.1"), ("b", "Derby", "-0.25", "2.1")),
            **TEAMS,
        )
        == []
    )


def test_totals_of_unlike_lines_or_players_are_not_mixed():
    assert (
        find_arbitrage("totals", offers(("a", "Over", "2.5", "2.2"), ("b", "Under", "3.5", "2.2")))
        == []
    )
    players = offers(("a", "Ann: Over", "2.5", "2.2"), ("b", "Bob: Under", "2.5", "2.2"))
    assert find_arbitrage("player_points", players) == []
    [found] = find_arbitrage(
        "totals", offers(("a", "Over", "2.5", "2.2"), ("b", "Under", "2.5", "2"))
    )
    assert not found.can_push


def test_commission_is_taken_from_winnings_before_the_best_price_is_chosen():
    book = offers(
        ("ex", "Leeds", None, "2.10"),
        ("book", "Leeds", None, "2.06"),
        ("other", "Derby", None, "2.06"),
    )
    options = {"commission": {"ex": Decimal("0.05")}, "exchanges": {"ex"}, **TEAMS}
    [found] = find_arbitrage("h2h", book, **options)

    assert found.legs[0].bookmakers == ("book",)  # 2.10 leaves 2.045
    assert not found.needs_exchange
    [gross] = find_arbitrage("h2h", book, exchanges={"ex"}, **TEAMS)
    assert gross.needs_exchange


def test_a_price_far_above_the_others_and_a_book_of_one_are_marked_and_not_hidden():
    [alone] = find_arbitrage(
        "h2h", offers(("a", "Leeds", None, "2.2"), ("a", "Derby", None, "2.2")), **TEAMS
    )
    [typo] = find_arbitrage(
        "h2h",
        offers(
            ("a", "Leeds", None, "22"), ("b", "Leeds", None, "2.2"), ("c", "Derby", None, "1.7")
        ),
        **TEAMS,
    )

    assert "all legs stand at a" in alone.suspect
    assert "10.00 times the median" in typo.suspect


def test_floats_and_prices_of_one_are_refused_by_name():
    with pytest.raises(TypeError, match="float"):
        find_arbitrage("h2h", [Offer("a", "Leeds", None, 2.1)], **TEAMS)
    with pytest.raises(ValueError, match="not above 1"):
        find_arbitrage("h2h", [Offer("a", "Leeds", None, Decimal(1))], **TEAMS)
