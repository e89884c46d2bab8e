"""The simulated market: the same for the same seed, lively, and nearly honest."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from odds.arbitrage import find_arbitrage
from odds.books import Offer
from odds.feeds.runner import Runner
from odds.feeds.simulate import Market, changes, everything, match_of
from odds.feeds.simulate_draws import on_ladder
from odds.feeds.simulated import SimulatedSource
from odds.models import Event, FeedCursor, Price
from odds.quotes import Batch

EPOCH = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MARKET = Market(seed=7, epoch=EPOCH)
SMALL = {"events": 6, "bookmakers": 4, "changes_a_s": 40, "speed": 0}


class Board:
    """What stands after some batches, as a reader of the feed knows it."""

    def __init__(self) -> None:
        self.prices: dict[tuple, Decimal] = {}
        self.infos = {}
        self.changed = 0

    def take(self, batch: Batch) -> None:
        self.infos |= {event.key: event for event in batch.events}
        for quote in batch.quotes:
            place = self.place(quote)
            self.changed += self.prices.get(place) != quote.price
            self.prices[place] = quote.price
        for quote in batch.withdrawn:
            del self.prices[self.place(quote)]

    @staticmethod
    def place(quote):
        return (
            quote.event_key,
            quote.bookmaker_key,
            quote.market,
            quote.outcome,
            quote.point,
        )

    def arbitrages(self) -> int:
        offers = defaultdict(list)
        for (event, bookmaker, market, outcome, point), price in self.prices.items():
            offers[event, market].append(Offer(bookmaker, outcome, point, price))
        return sum(
            len(
                find_arbitrage(
                    market,
                    those,
                    home=self.infos[event].home_team,
                    away=self.infos[event].away_team,
                    sport_key=self.infos[event].sport_key,
                    commission={"fairdeal_ex": Decimal("0.02")},
                    exchanges={"fairdeal_ex"},
                )
            )
            for (event, market), those in offers.items()
        )


@pytest.fixture(scope="module")
def hour():
    """The demo's market over some minutes: (arbitrages a sample, changes a second)."""
    board, arbitrages = Board(), []
    board.take(everything(MARKET, 0))
    board.changed = 0
    for tick in range(1, 1201):
        board.take(changes(MARKET, tick))
        if tick % 100 == 0:
            arbitrages.append(board.arbitrages())
    return board, arbitrages, board.changed / 300


def test_the_demo_has_two_hundred_matches_twelve_bookmakers_and_all_leagues():
    batch = everything(MARKET, 0)

    assert len(batch.events) == 200
    assert len(batch.bookmakers) == 12
    assert len({event.sport_key for event in batch.events}) == 10
    assert all(event.commence_time > EPOCH for event in batch.events)
    assert all(event.home_team != event.away_team for event in batch.events)


def test_about_two_hundred_prices_change_a_second(hour):
    assert 150 < hour[2] < 250


def test_a_few_arbitrages_stand_at_any_time_and_others_later(hour):
    _, arbitrages, _ = hour

    assert all(1 <= found <= 12 for found in arbitrages)
    assert 3 <= sum(arbitrages) / len(arbitrages) <= 8
    assert len(set(arbitrages)) > 1


def test_every_bookmaker_keeps_a_margin():
    books = defaultdict(list)
    for quote in everything(MARKET, 0).quotes:
        books[quote.event_key, quote.market, quote.bookmaker_key].append(1 / quote.price)

    margins = [float(sum(book)) - 1 for book in books.values()]
    assert 0.03 < sum(margins) / len(margins) < 0.09
    assert sum(margin < 0 for margin in margins) < len(margins) / 100


def test_the_same_seed_and_tick_give_the_same_batch_wherever_one_starts():
    assert changes(MARKET, 777) == changes(Market(seed=7, epoch=EPOCH), 777)
    assert changes(MARKET, 777) != changes(Market(seed=8, epoch=EPOCH), 777)


def test_the_changes_lead_exactly_to_what_stands(hour):
    board, _, _ = hour

    whole = everything(MARKET, 1200)

    assert board.prices == {board.place(quote): quote.price for quote in whole.quotes}


def test_a_match_that_begins_is_withdrawn_and_another_takes_its_place():
    slot, tick = min(
        ((slot, match_of(MARKET, slot, 0).last_tick) for slot in range(200)),
        key=lambda pair: pair[1],
    )
    over = match_of(MARKET, slot, tick - 1)

    batch = changes(MARKET, tick)

    assert over.info.commence_time == MARKET.at(tick)
    assert {quote.event_key for quote in batch.withdrawn} == {over.info.key}
    assert match_of(MARKET, slot, tick).info.key in {event.key for event in batch.events}


@pytest.mark.parametrize(
    ("price", "written"),
    [(1.0, "1.01"), (1.987, "1.98"), (2.079, "2.06"), (3.49, "3.45"), (7.39, "7.20"), (433, "430")],
)
def test_prices_stand_on_a_ladder(price, written):
    assert on_ladder(price) == Decimal(written)


def run(batches: int, **options) -> Runner:
    clock = lambda: datetime.now(UTC)  # noqa: E731
    source = SimulatedSource(**(SMALL | {"clock": clock} | options))
    runner = Runner(source, stop=threading.Event(), most=batches)
    runner.run()
    return runner


def stored() -> set[tuple]:
    return set(
        Price.objects.values_list(
            "event__home_team", "event__away_team", "bookmaker__key", "market", "outcome", "point",
            "price", "suspended_at__isnull",
        )
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_feed_goes_on_at_its_cursor():
    run(10)
    assert FeedCursor.objects.get().cursor["tick"] == 9

    run(10)

    assert FeedCursor.objects.get().cursor["tick"] == 19
    assert Event.objects.count() == 6


@pytest.mark.django_db(transaction=True)
def test_another_seed_begins_another_market():
    run(3)
    run(2, seed=99)

    assert FeedCursor.objects.get().cursor["tick"] == 1
    assert Event.objects.count() == 12


def test_real_time_is_kept():
    now = [EPOCH]
    slept = []

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        now[0] += timedelta(seconds=seconds)
        return False

    source = SimulatedSource(**(SMALL | {"speed": 1, "clock": lambda: now[0]}))
    list(itertools.islice(source.batches(None, wait), 9))

    assert slept == [0.25] * 8


def test_a_feed_that_slept_for_hours_sends_the_market_as_it_is_and_withdraws_what_began():
    source = SimulatedSource(**(SMALL | {"speed": 1, "clock": lambda: EPOCH}))
    first = next(source.batches(None, lambda seconds: False))
    hours = EPOCH + timedelta(hours=60)
    source.clock = lambda: hours

    batch = next(source.batches(first.cursor, lambda seconds: False))

    assert batch.cursor["tick"] == 60 * 3600 * 4
    assert {quote.event_key for quote in batch.withdrawn} == {event.key for event in first.events}
    assert all(event.commence_time > hours for event in batch.events)
