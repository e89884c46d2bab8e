"""A market that holds an arbitrage is never left out; most that hold none are."""

from collections import defaultdict
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from odds.arbitrage import find_arbitrage
from odds.books import Offer
from odds.screening import Line, may_hold

MARKETS = [
    "h2h", "h2h_3_way", "h2h_lay", "draw_no_bet", "spreads", "alternate_spreads", "totals",
    "team_totals", "player_points", "btts", "outrights",
]  # fmt: skip
HOME, AWAY = "A: Home", "Away"
OUTCOMES = [
    HOME, AWAY, "Draw", "Over", "Under", "Yes", "No", "A: Over", "A: Under", "B: Over", "Other",
]  # fmt: skip
OFFERS = st.lists(
    st.builds(
        Offer,
        st.sampled_from("abcd"),
        st.sampled_from(OUTCOMES),
        st.sampled_from([None, *map(Decimal, ("-1.5", "-0.5", "0", "0.5", "1.5"))]),
        st.decimals(min_value="1.01", max_value="6", places=2),
    ),
    max_size=14,
    unique_by=lambda one: one[:3],
)


def lines_of(market, offers):
    """As the statement groups them."""
    groups = defaultdict(list)
    for one in offers:
        groups[one.outcome, one.point].append((ord(one.bookmaker), float(one.price)))
    return [
        Line(1, market, outcome, None if point is None else abs(float(point)), found)
        for (outcome, point), found in groups.items()
    ]


@given(st.sampled_from(MARKETS), OFFERS, st.sampled_from(["soccer_epl", "tennis_atp"]))
def test_whatever_holds_an_arbitrage_passes(market, offers, sport):
    found = find_arbitrage(market, offers, home=HOME, away=AWAY, sport_key=sport)

    assert may_hold(market, lines_of(market, offers)) or not found


def book(market, *prices):
    return lines_of(market, [Offer(*one) for one in prices])


def test_a_book_with_a_margin_is_left_out_and_one_without_passes():
    fair = [("a", "Over", Decimal("2.5"), Decimal("1.95")), ("b", "Under", Decimal("2.5"), 2)]
    assert not may_hold("totals", book("totals", *fair))

    fair[0] = ("a", "Over", Decimal("2.5"), Decimal("2.01"))
    assert may_hold("totals", book("totals", *fair))


def test_home_and_away_of_bookmakers_that_price_the_draw_make_no_book_of_two():
    three = [("a", HOME, None, 3), ("a", "Draw", None, 3), ("a", AWAY, None, Decimal("2.9"))]

    assert not may_hold("h2h", book("h2h", *three))
    assert may_hold("h2h", book("h2h", *three, ("b", HOME, None, 3), ("b", AWAY, None, 3)))


def test_what_is_never_judged_is_not_looked_at():
    assert not may_hold("outrights", book("outrights", ("a", "X", None, 9), ("a", "Y", None, 9)))
