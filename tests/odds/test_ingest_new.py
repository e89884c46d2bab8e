"""Prices of new events go by another way when they are many; what is stored is the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from odds import partitions
from odds.models import Event, Price, PriceChange
from odds.quotes import Batch, EventInfo, Quote
from odds.services import ingest

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _database(db):
    partitions._made.clear()


def random_batch(seed: int) -> Batch:
    chance = random.Random(seed)
    events = [
        EventInfo(
            key=f"{seed:030}{number:02}",
            sport_key="soccer_epl",
            sport_title="EPL",
            commence_time=NOW + timedelta(hours=3),
            home_team="Home \\N",
            away_team="Away",
        )
        for number in range(3)
    ]

    def quote() -> Quote:
        return Quote(
            event_key=chance.choice(events).key,
            bookmaker_key=chance.choice(("a", "b")),
            market=chance.choice(("h2h", "totals")),
            outcome=chance.choice(("Home \\N", "Away")),
            point=chance.choice((None, Decimal("2.5"), Decimal("2.50"))),
            price=Decimal(chance.choice(("2.1", "2.10", "3", "1.909090"))),
            last_update=chance.choice((None, NOW, NOW - timedelta(hours=chance.randrange(4)))),
        )

    return Batch(
        source="test",
        events=events,
        bookmakers={"a": "A", "b": "B"},
        quotes=[quote() for _ in range(chance.choice((2, 30, 90)))],
        withdrawn=[quote() for _ in range(chance.choice((0, 20)))],
    )


def stored() -> tuple[list, list]:
    prices = Price.objects.order_by(
        "event__key", "bookmaker__key", "market", "outcome", "point"
    ).values_list(
        "event__key", "bookmaker__key", "market", "outcome", "point", "price", "last_update",
        "changed_at", "seen_at", "suspended_at", "id",
    )  # fmt: skip
    rows = list(prices)
    place = {row[-1]: number for number, row in enumerate(rows)}
    moves = PriceChange.objects.order_by("price_id", "recorded_at").values_list(
        "price_id", "recorded_at", "price", "last_update"
    )
    return [row[:-1] for row in rows], sorted((place[id], *rest) for id, *rest in moves)


def ingest_and_undo(batch: Batch) -> tuple:
    partitions._made.clear()
    with transaction.atomic():
        report = ingest(batch, now=NOW)
        found = stored()
        transaction.set_rollback(True)
    counts = (report.inserted, report.changed, report.withdrawn, report.unchanged, report.late)
    return counts, found


@pytest.mark.parametrize("seed", range(12))
def test_many_prices_of_new_events_are_stored_as_the_merge_stores_them(settings, seed):
    batch = random_batch(seed)
    merged = ingest_and_undo(batch)

    settings.PERFORMANCE = {"ODDS": {"max_changes_a_message": 1}}
    copied = ingest_and_undo(batch)

    assert copied == merged


def test_new_and_known_events_of_one_batch_each_go_their_way(settings):
    settings.PERFORMANCE = {"ODDS": {"max_changes_a_message": 1}}
    first, both = random_batch(1), random_batch(2)
    ingest(first, now=NOW)
    mixed = Batch(
        source="test",
        events=[*first.events, *both.events],
        bookmakers=first.bookmakers,
        quotes=[*first.quotes, *both.quotes],
    )

    report = ingest(mixed, now=NOW + timedelta(minutes=1))

    assert report.inserted > 0
    assert report.received == (
        report.inserted + report.changed + report.withdrawn + report.unchanged + report.late
    )
    assert Event.objects.count() == 6
