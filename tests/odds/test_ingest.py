"""What becomes of a batch: prices, history, refusals, late and repeated quotes."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from odds import partitions
from odds.models import Event, FeedCursor, OutboxMessage, Price, PriceChange, RefusedQuote
from odds.quotes import Batch, EventInfo, Quote
from odds.services import ingest

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = "0" * 31 + "1"


def event(key: str = KEY, **changes) -> EventInfo:
    given = {
        "key": key,
        "sport_key": "soccer_epl",
        "sport_title": "EPL",
        "commence_time": NOW + timedelta(hours=3),
        "home_team": "Arsenal",
        "away_team": "Everton",
    }
    return EventInfo(**(given | changes))


def quote(price: str = "2.50", outcome: str = "Arsenal", **changes) -> Quote:
    given = {
        "event_key": KEY,
        "bookmaker_key": "bet365",
        "market": "h2h",
        "outcome": outcome,
        "point": None,
        "price": Decimal(price),
        "last_update": NOW,
    }
    return Quote(**(given | changes))


def batch(*quotes: Quote, **changes) -> Batch:
    given = {
        "source": "test",
        "events": [event()],
        "bookmakers": {"bet365": "Bet365", "betfair_ex_eu": "Betfair"},
        "quotes": list(quotes),
    }
    return Batch(**(given | changes))


def history() -> list[Decimal | None]:
    return list(
        PriceChange.objects.order_by("price_id", "recorded_at").values_list("price", flat=True)
    )


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _database(db):
    """All of these need the database."""
    partitions._made.clear()  # what a rolled back test made is gone


def test_a_new_price_is_stored_with_its_history():
    report = ingest(batch(quote("2.50")), now=NOW)

    price = Price.objects.get()
    assert (report.received, report.inserted, report.changed, report.unchanged) == (1, 1, 0, 0)
    assert (price.price, price.last_update, price.changed_at) == (Decimal("2.5"), NOW, NOW)
    assert price.event.home_team == "Arsenal"
    assert history() == [Decimal("2.5")]


def test_the_same_batch_again_changes_nothing_but_when_it_was_seen():
    ingest(batch(quote("2.50"), quote("3.1", outcome="Draw")), now=NOW)

    report = ingest(batch(quote("2.50"), quote("3.1", outcome="Draw")), now=later(5))

    assert (report.inserted, report.changed, report.unchanged) == (0, 0, 2)
    assert report.outbox_id is None
    assert len(history()) == 2
    assert set(Price.objects.values_list("seen_at", flat=True)) == {later(5)}


def test_a_changed_price_is_updated_in_place_and_appended_to_history():
    ingest(batch(quote("2.50")), now=NOW)

    report = ingest(batch(quote("2.60", last_update=later(5))), now=later(6))

    price = Price.objects.get()
    assert (report.changed, price.price, price.last_update) == (1, Decimal("2.6"), later(5))
    assert history() == [Decimal("2.5"), Decimal("2.6")]


def test_a_quote_older_than_what_is_stored_is_late_and_left_out():
    ingest(batch(quote("2.50", last_update=later(10))), now=later(10))

    report = ingest(batch(quote("9.00", last_update=NOW)), now=later(11))

    assert (report.late, report.changed) == (1, 0)
    assert Price.objects.get().price == Decimal("2.5")
    assert history() == [Decimal("2.5")]


def test_several_quotes_of_one_price_in_one_batch_are_told_in_their_order():
    prices = [quote("2.50"), quote("2.60"), quote("2.60"), quote("2.40")]

    report = ingest(batch(*prices), now=NOW)

    assert (report.inserted, report.changed, report.unchanged) == (1, 2, 1)
    assert Price.objects.get().price == Decimal("2.4")
    assert history() == [Decimal("2.5"), Decimal("2.6"), Decimal("2.4")]


@pytest.mark.parametrize("when", [NOW, None], ids=["dated", "undated"])
def test_several_quotes_of_one_price_sent_again_are_not_told_again(when):
    prices = [quote("2.50", last_update=when), quote("2.60", last_update=when)]
    ingest(batch(*prices), now=NOW)

    report = ingest(batch(*prices), now=later(60))

    assert (report.changed, report.unchanged) == (0, 2)
    assert history() == [Decimal("2.5"), Decimal("2.6")]


def test_recorded_times_of_one_price_grow_even_when_the_clock_stands_still():
    for price in ("2.5", "2.6", "2.5", "2.7"):
        ingest(batch(quote(price)), now=NOW)

    times = list(PriceChange.objects.order_by("recorded_at").values_list("recorded_at", flat=True))
    assert len(set(times)) == 4
    assert history() == [Decimal(price) for price in ("2.5", "2.6", "2.5", "2.7")]


def test_a_withdrawn_price_leaves_the_board_and_history_says_when():
    ingest(batch(quote("2.50")), now=NOW)

    report = ingest(batch(withdrawn=[quote("2.50", last_update=None)]), now=later(5))

    assert report.withdrawn == 1
    assert Price.objects.get().suspended_at == later(5)
    assert history() == [Decimal("2.5"), None]


def test_a_withdrawn_price_comes_back_as_a_change_even_at_the_same_price():
    ingest(batch(quote("2.50")), now=NOW)
    ingest(batch(withdrawn=[quote("2.50")]), now=later(5))

    report = ingest(batch(quote("2.50", last_update=later(9))), now=later(10))

    assert (report.changed, Price.objects.get().suspended_at) == (1, None)
    assert history() == [Decimal("2.5"), None, Decimal("2.5")]


def test_lines_with_other_points_are_other_prices():
    ingest(
        batch(
            quote("1.9", outcome="Over", market="totals", point=Decimal("2.5")),
            quote("1.8", outcome="Over", market="totals", point=Decimal("2.50")),
            quote("2.1", outcome="Over", market="totals", point=Decimal("3")),
        ),
        now=NOW,
    )

    assert dict(Price.objects.values_list("point", "price")) == {
        Decimal("2.500"): Decimal("1.8"),
        Decimal("3.000"): Decimal("2.1"),
    }


BAD = [
    (quote("1"), "above 1"),
    (quote("0"), "above 1"),
    (quote("-110"), "above 1"),
    (quote("1.0000001"), "above 1"),
    (quote("1e308"), "at most"),
    (quote("NaN"), "above 1"),
    (quote("Infinity"), "above 1"),
    (msgspec.structs.replace(quote(), price=2.5), "must be a Decimal"),
    (quote(market="H2H!"), "market"),
    (quote(market="m" * 65), "market"),
    (quote(outcome=""), "outcome"),
    (quote(outcome="x" * 121), "outcome"),
    (quote(outcome="a\0b"), "printable"),
    (quote(outcome="a\tb"), "printable"),
    (quote(outcome=["a"]), "outcome"),
    (quote(point=Decimal("NaN")), "point"),
    (quote(point=Decimal("0.0001")), "three places"),
    (quote(bookmaker_key="unheard_of"), "not among the batch's bookmakers"),
    (quote(event_key="f" * 32), "neither in the batch nor known"),
    (quote(event_key="f" * 33), "event key"),
    (quote(last_update=datetime(2026, 1, 1)), "zone"),  # noqa: DTZ001
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_bad_quote_is_kept_apart_with_its_reason_and_stops_no_other(bad, reason):
    report = ingest(batch(quote("2.50"), bad, quote("3.3", outcome="Draw")), now=NOW)

    assert (report.received, report.inserted) == (3, 2)
    assert [refusal.quote for refusal in report.refused] == [bad]
    assert reason in report.refused[0].reason
    assert reason in RefusedQuote.objects.get().reason


def test_the_same_refusal_again_is_counted_and_not_stored_twice():
    for second in (0, 1, 2):
        ingest(batch(quote("0.5", last_update=later(second))), now=later(second))

    assert RefusedQuote.objects.get().times == 3


def test_of_a_flood_of_refusals_only_a_bounded_number_is_kept(settings):
    settings.PERFORMANCE = {"ODDS": {"refused_rows_a_batch": 10}}

    report = ingest(batch(*(quote("0", outcome=f"Runner {n}") for n in range(50))), now=NOW)

    assert len(report.refused) == 50
    assert RefusedQuote.objects.count() == 10


def test_a_bad_event_takes_only_its_own_quotes_with_it():
    other = "0" * 31 + "2"
    bad = event(other, home_team="x" * 200)

    report = ingest(batch(quote(), quote(event_key=other), events=[event(), bad]), now=NOW)

    assert (report.inserted, len(report.refused)) == (1, 1)
    assert "home team" in report.refused[0].reason


def test_a_time_in_the_future_is_set_to_now_and_counted():
    report = ingest(batch(quote(last_update=datetime(2099, 1, 1, tzinfo=UTC))), now=NOW)

    assert (report.clamped, Price.objects.get().last_update) == (1, NOW)


def test_a_little_skew_is_taken_as_it_is():
    report = ingest(batch(quote(last_update=later(20))), now=NOW)

    assert (report.clamped, Price.objects.get().last_update) == (0, later(20))


def test_a_match_that_was_put_off_is_corrected():
    ingest(batch(quote()), now=NOW)

    ingest(batch(events=[event(commence_time=later(86_400))]), now=NOW)

    assert Event.objects.get().commence_time == later(86_400)


def test_quotes_may_be_about_events_that_are_known_already():
    ingest(batch(quote("2.5")), now=NOW)

    report = ingest(batch(quote("2.6"), events=[]), now=later(1))

    assert report.changed == 1


def test_the_cursor_is_stored_with_the_batch():
    ingest(batch(quote(), cursor={"tick": 7}), now=NOW)

    assert FeedCursor.objects.get().cursor == {"tick": 7}


def test_an_empty_batch_is_no_error():
    report = ingest(batch(events=[]), now=NOW)

    assert (report.received, report.outbox_id) == (0, None)


def test_the_outbox_row_names_tags_and_changes():
    ingest(batch(quote("2.50")), now=NOW)
    report = ingest(batch(quote("2.625", last_update=later(1))), now=later(2))

    row = OutboxMessage.objects.get(pk=report.outbox_id)
    assert row.tags == ["sport:soccer_epl", f"event:{KEY}"]
    assert row.message["source"] == "test"
    assert row.message["changes"] == [
        {
            "event": KEY,
            "sport": "soccer_epl",
            "bookmaker": "bet365",
            "market": "h2h",
            "outcome": "Arsenal",
            "point": None,
            "price": 2.625,
            "previous": 2.5,
            "last_update": "2026-11-24T12:00:01+00:00",
        }
    ]


def test_a_batch_with_too_many_changes_names_the_sports_to_read_again(settings):
    settings.PERFORMANCE = {"ODDS": {"max_changes_a_message": 3}}

    report = ingest(batch(*(quote(outcome=f"Runner {n}") for n in range(4))), now=NOW)

    message = OutboxMessage.objects.get(pk=report.outbox_id).message
    assert message["resync"] == ["soccer_epl"]
    assert "changes" not in message


def test_names_with_backslashes_and_quotes_survive():
    name = 'O\'Neill \\N \\. "São"'

    ingest(batch(quote(outcome=name)), now=NOW)

    assert Price.objects.get().outcome == name


def test_the_number_of_statements_does_not_grow_with_the_batch():
    def many(size: int, at: datetime) -> Batch:
        keys = [f"{n:032x}" for n in range(size)]
        return batch(
            *(quote(event_key=key, last_update=at, price=f"{2 + at.second / 10}") for key in keys),
            events=[event(key) for key in keys],
        )

    ingest(many(1, NOW), now=NOW)
    ingest(many(500, NOW), now=NOW)
    counts = []
    for size, second in ((1, 1), (500, 2)):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            ingest(many(size, later(second)), now=later(second))
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 16


@pytest.mark.django_db(transaction=True)
def test_two_batches_about_the_same_events_at_once_lose_and_double_nothing():
    keys = [f"{n:032x}" for n in range(40)]
    errors: list[BaseException] = []

    def feed(source: str, order: list[str]) -> None:
        try:
            for step in range(8):
                quotes = [
                    quote(f"{2 + step / 100}", event_key=key, bookmaker_key=source) for key in order
                ] + [quote(f"{3 + step / 100}", event_key=key) for key in order]
                ingest(
                    batch(
                        *quotes,
                        source=source,
                        events=[event(key) for key in order],
                        bookmakers={source: source, "bet365": "Bet365"},
                    )
                )
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=feed, args=("one", keys)),
        threading.Thread(target=feed, args=("two", keys[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert Price.objects.count() == 3 * 40
    for price in Price.objects.all():
        told = list(
            PriceChange.objects.filter(price_id=price.id)
            .order_by("recorded_at")
            .values_list("price", flat=True)
        )
        assert told[-1] == price.price
        assert all(one != other for one, other in itertools.pairwise(told))
        if price.bookmaker.key != "bet365":
            assert len(told) == 8


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_fails_in_the_middle_leaves_nothing(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("killed")

    monkeypatch.setattr("odds.openings.recompute", fail)
    with pytest.raises(RuntimeError):
        ingest(batch(quote(), cursor={"tick": 1}))

    assert not Price.objects.exists()
    assert not Event.objects.exists()
    assert not FeedCursor.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert json.dumps(history()) == "[]"
