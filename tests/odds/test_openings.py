"""Opportunities: one row for as long as one lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from odds import partitions
from odds.models import Bookmaker, Opportunity, OutboxMessage, Sport
from odds.quotes import Batch, EventInfo, Quote
from odds.services import ingest, judge_bookmaker_anew, refresh_opportunities

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = "a" * 32
HOME, AWAY = "Boston Celtics", "Miami Heat"


@pytest.fixture(autouse=True)
def _database(db):
    partitions._made.clear()


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def feed(prices, *, at=NOW, market="h2h", starts=NOW + timedelta(hours=2), **changes):
    """Ingest {(bookmaker, outcome): price}; an outcome may be (name, point)."""
    quotes = []
    for (bookmaker, outcome), price in prices.items():
        name, point = outcome if isinstance(outcome, tuple) else (outcome, None)
        quotes.append(
            Quote(
                event_key=KEY,
                bookmaker_key=bookmaker,
                market=market,
                outcome=name,
                point=None if point is None else Decimal(point),
                price=Decimal(price),
                last_update=at,
            )
        )
    info = EventInfo(
        key=KEY,
        sport_key="basketball_nba",
        sport_title="NBA",
        commence_time=starts,
        home_team=HOME,
        away_team=AWAY,
        **changes,
    )
    return ingest(
        Batch(
            source="test",
            events=[info],
            bookmakers={quote.bookmaker_key: quote.bookmaker_key for quote in quotes},
            quotes=quotes,
        ),
        now=at,
    )


ARBITRAGE = {("one", HOME): "2.10", ("two", AWAY): "2.10"}
NONE = {("one", HOME): "1.80", ("two", AWAY): "2.10"}


def told() -> dict:
    return OutboxMessage.objects.order_by("-id").first().message["opportunities"]


def test_an_arbitrage_opens_an_opportunity_with_its_legs():
    feed(ARBITRAGE)

    one = Opportunity.objects.get()
    assert (one.market, one.closed_at, one.first_seen_at) == ("h2h", None, NOW)
    assert one.roi_pct == Decimal(5)
    assert one.legs[0] == {
        "outcome": HOME,
        "point": None,
        "price": "2.1",
        "bookmakers": ["one"],
        "stake_pct": "50.000000",
        "last_update": "2026-11-24T12:00:00+00:00",
    }
    assert [opened["id"] for opened in told()["opened"]] == [one.pk]
    assert "arbitrage" in OutboxMessage.objects.get().tags


def test_while_it_lasts_it_stays_one_row():
    feed(ARBITRAGE)
    feed({("one", HOME): "2.20"}, at=later(5))
    feed({("one", HOME): "2.20"}, at=later(10))

    one = Opportunity.objects.get()
    assert (one.first_seen_at, one.last_seen_at) == (NOW, later(5))
    assert one.legs[0]["price"] == "2.2"
    assert [changed["id"] for changed in told()["changed"]] == [one.pk]


def test_it_closes_when_the_price_is_gone_and_opens_as_another():
    feed(ARBITRAGE)
    feed({("one", HOME): "1.80"}, at=later(5))
    assert Opportunity.objects.get().closed_at == later(5)
    assert len(told()["closed"]) == 1

    feed({("one", HOME): "2.10"}, at=later(9))

    assert list(Opportunity.objects.values_list("closed_at", flat=True).order_by("id")) == [
        later(5),
        None,
    ]


def test_spreads_are_kept_by_the_home_sides_line():
    feed({("one", (HOME, "-3.5")): "2.10", ("two", (AWAY, "3.5")): "2.10"}, market="spreads")
    feed(
        {("one", (HOME, "3.5")): "2.10", ("two", (AWAY, "-3.5")): "2.10"},
        market="spreads",
        at=later(1),
    )

    assert set(Opportunity.objects.values_list("point", flat=True)) == {
        Decimal("-3.5"),
        Decimal("3.5"),
    }


def test_an_exchange_counts_after_its_commission():
    feed({("betfair_ex_eu", HOME): "2.05", ("two", AWAY): "2.00"})

    assert not Opportunity.objects.exists()  # gross it is one, net 1.9975 is not


def test_an_event_that_has_begun_opens_nothing():
    feed(ARBITRAGE, starts=NOW - timedelta(seconds=1))

    assert not Opportunity.objects.exists()


def test_an_event_known_by_its_day_only_may_still_be_played_that_day():
    feed(ARBITRAGE, starts=NOW.replace(hour=0), date_only=True)

    assert Opportunity.objects.filter(closed_at=None).count() == 1


def test_a_bookmaker_that_is_switched_off_is_no_leg():
    feed(NONE)
    Bookmaker.objects.filter(key="one").update(active=False)

    feed({("one", HOME): "2.10"}, at=later(1))

    assert not Opportunity.objects.exists()


def test_upkeep_closes_what_has_stale_prices():
    feed(ARBITRAGE)

    assert not refresh_opportunities(now=later(800))
    moves = refresh_opportunities(now=later(901))

    assert len(moves.closed) == 1
    assert Opportunity.objects.get().closed_at == later(901)
    assert len(told()["closed"]) == 1


def test_prices_that_were_confirmed_meanwhile_keep_it_open():
    feed(ARBITRAGE)
    feed(ARBITRAGE, at=later(600))

    assert not refresh_opportunities(now=later(1000))


def test_upkeep_closes_what_has_begun():
    feed(ARBITRAGE, starts=later(60))

    refresh_opportunities(now=later(61))

    assert Opportunity.objects.get().closed_at == later(61)


def test_a_changed_commission_is_judged_at_once():
    feed(ARBITRAGE)
    one = Bookmaker.objects.get(key="one")
    Bookmaker.objects.filter(pk=one.pk).update(commission=Decimal("0.2"))

    moves = judge_bookmaker_anew(one.pk, now=later(1))

    assert len(moves.closed) == 1
    message = OutboxMessage.objects.order_by("-id").first()
    assert message.message["resync"] == ["basketball_nba"]
    assert {"sport:basketball_nba", f"event:{KEY}", "arbitrage"} == set(message.tags)


def test_recomputing_takes_the_same_statements_for_one_event_and_for_forty():
    def many(size: int, price: str, at: datetime) -> int:
        keys = [f"{n:032x}" for n in range(size)]
        quotes = [
            Quote(
                event_key=key,
                bookmaker_key=bookmaker,
                market="h2h",
                outcome=outcome,
                point=None,
                price=Decimal(price),
                last_update=at,
            )
            for key in keys
            for bookmaker, outcome in (("one", HOME), ("two", AWAY))
        ]
        events = [
            EventInfo(
                key=key,
                sport_key="basketball_nba",
                sport_title="NBA",
                commence_time=later(9000),
                home_team=HOME,
                away_team=AWAY,
            )
            for key in keys
        ]
        titles = {"one": "One", "two": "Two"}
        with CaptureQueriesContext(connection) as queries:
            ingest(Batch(source="test", events=events, bookmakers=titles, quotes=quotes), now=at)
        return len(queries)

    many(40, "2.10", NOW)
    assert Opportunity.objects.filter(closed_at=None).count() == 40

    assert many(1, "2.20", later(1)) == many(40, "2.30", later(2)) <= 18


def test_staff_edit_a_bookmaker_and_the_boards_are_told(client, django_capture_on_commit_callbacks):
    feed(ARBITRAGE)
    staff = User.objects.create_superuser("staff")
    client.force_login(staff)
    one = Bookmaker.objects.get(key="one")

    answer = client.post(
        f"/admin/odds/bookmaker/{one.pk}/change/",
        {"title": "One", "active": "on", "commission": "0.05"},
    )

    assert answer.status_code == 302
    assert "resync" in OutboxMessage.objects.order_by("-id").first().message


@pytest.mark.parametrize(
    "model", ["sport", "bookmaker", "event", "price", "opportunity", "refusedquote", "feedcursor"]
)
def test_the_admin_lists_and_shows_what_feeds_write(client, model):
    feed(ARBITRAGE | {("one", "x"): "0.5"})
    client.force_login(User.objects.create_superuser("staff"))

    page = client.get(f"/admin/odds/{model}/")

    assert page.status_code == 200
    assert client.get(f"/admin/odds/{model}/add/").status_code == 403
    assert Sport.objects.exists()
