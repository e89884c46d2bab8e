"""What the selectors read, and at what cost in queries."""

from __future__ import annotations

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from odds import answers, boards, history
from odds.boards import Board
from odds.fair import fair_prices
from odds.models import Bookmaker

from . import market

pytestmark = pytest.mark.django_db


def read(*, sport="soccer_epl", kind="h2h", bookmakers=(), page=1) -> Board:
    return boards.board(sport, market=kind, bookmakers=bookmakers, page=page)


def table_of(number=0, kind="h2h", line=None, **options):
    found = boards.event(market.key(number), **options)
    return next(one for one in found.events[0].tables if one.market == kind and one.line == line)


def best(table):
    return {outcome.name: outcome.best for outcome in table.outcomes}


def test_the_best_of_each_outcome_is_the_highest_price_on_offer():
    market.open_market()

    table = read().events[0].tables[0]
    assert best(table) == {"Arsenal": 2.6, "Draw": 3.4, "Everton": 2.9}
    assert [outcome.name for outcome in table.outcomes] == ["Arsenal", "Draw", "Everton"]
    assert table.best_inverse == pytest.approx(1 / 2.6 + 1 / 3.4 + 1 / 2.9)


def test_with_chosen_bookmakers_only_theirs_count_for_the_best():
    market.open_market()

    found = read(bookmakers=["bet365"])
    assert best(found.events[0].tables[0])["Arsenal"] == 2.5
    assert found.bookmakers == {"bet365": "Bet365"}


def test_a_suspended_price_is_shown_as_suspended_and_is_never_the_best():
    market.open_market()
    market.send(withdrawn=[market.quote(0, "pinnacle", "Arsenal", "2.60")])

    outcome = table_of().outcomes[0]
    assert outcome.best == 2.5
    assert [one.bookmaker for one in outcome.offers if one.suspended] == ["pinnacle"]
    assert "pinnacle" not in table_of().inverses()


def test_two_way_and_three_way_quotes_of_one_event_are_never_compared():
    market.open_market()
    two_way = [
        market.quote(0, "betfair_ex_eu", "Arsenal", "9.00"),
        market.quote(0, "betfair_ex_eu", "Everton", "9.00"),
    ]
    market.send(*two_way)

    assert best(read().events[0].tables[0])["Arsenal"] == 2.6  # the table that most price
    found = boards.event(market.key(0)).events[0].tables
    assert [(one.draw, len(one.outcomes)) for one in found if one.market == "h2h"] == [
        (True, 3),
        (False, 2),
    ]


def test_home_minus_a_half_stands_against_away_plus_a_half():
    market.open_market()

    table = table_of(kind="spreads", line=-0.5)
    assert [(one.name, one.point) for one in table.outcomes] == [
        ("Arsenal", -0.5),
        ("Everton", 0.5),
    ]


def test_in_a_lay_market_the_lowest_price_is_the_best():
    market.open_market()
    for bookmaker, price in (("betfair_ex_eu", "2.70"), ("unibet", "2.64")):
        market.send(market.quote(0, bookmaker, "Arsenal", price, market="h2h_lay"))

    assert best(table_of(kind="h2h_lay")) == {"Arsenal": 2.64}


def test_an_inactive_bookmaker_is_not_shown():
    market.open_market()
    Bookmaker.objects.filter(key="pinnacle").update(active=False)

    assert "pinnacle" not in read().bookmakers
    assert b"pinnacle" not in answers.odds("soccer_epl")


def test_events_are_soonest_first_those_in_play_marked_and_those_long_over_gone():
    market.open_market()
    market.send(*market.book(7, "bet365", "2", "3", "4"), events=[market.event(7, hours=-1)])
    market.send(*market.book(8, "bet365", "2", "3", "4"), events=[market.event(8, hours=-5)])

    found = read()
    assert [one.id for one in found.events] == [market.key(number) for number in (7, 0, 1, 2)]
    assert [one.in_play for one in found.events] == [True, False, False, False]
    assert found.total == 4


def test_the_age_of_prices_is_the_providers_not_ours():
    market.open_market()

    found = read()
    assert 9 <= found.as_of - found.typical_confirmed_at <= 40


def test_fair_prices_are_the_average_without_margins():
    market.open_market()

    fair = fair_prices(table_of())
    assert sum(1 / price for price in fair.values()) == pytest.approx(1)
    assert fair["Arsenal"] > 2.6


def test_a_market_that_nobody_prices_whole_has_no_fair_price():
    market.send(market.quote(0, "bet365", "Arsenal", "2.5"))

    assert fair_prices(table_of()) == {}


@pytest.mark.parametrize("events", [1, 25])
def test_a_board_costs_one_query_whatever_it_holds(events):
    market.open_market(events)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        boards.board("soccer_epl", market="h2h", total=events)
        msgspec.json.decode(answers.odds("soccer_epl", markets=["h2h", "totals", "spreads"]))
        boards.event(market.key(0))
        history.moves(market.key(0), 0, 1e10)
    assert len(queries) == 4


def test_the_second_page_goes_on_where_the_first_ended():
    market.open_market(boards.PAGE_EVENTS + 2)

    second = read(page=2)
    assert [one.id for one in second.events] == [
        market.key(number) for number in (boards.PAGE_EVENTS, boards.PAGE_EVENTS + 1)
    ]


def test_history_has_every_move_and_the_suspension():
    market.open_market()
    market.send(market.quote(0, "bet365", "Arsenal", "2.55", last_update=market.now()))
    market.send(withdrawn=[market.quote(0, "bet365", "Arsenal", "2.55", last_update=market.now())])

    board = boards.event(market.key(0))
    moved = history.moves(market.key(0), 0, 1e10)
    found = history.series(board.events[0].lines, moved, b"[]", board.bookmakers)
    mine = next(
        one
        for one in found
        if (one.market, one.bookmaker, one.outcome) == ("h2h", "bet365", "Arsenal")
    )
    assert [price for _, price in mine.changes] == [2.5, 2.55, None]


def test_an_unknown_event_gives_nothing_and_ids_that_begin_alike():
    market.open_market()

    assert boards.event("0" * 32).events == []
    assert boards.near_events(market.key(0)[:10] + "f" * 22) == [market.key(0)]
    assert boards.near_events("%") == []
