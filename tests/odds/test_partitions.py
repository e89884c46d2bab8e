"""History by days: made ahead, moved out of DEFAULT, dropped when old."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, connections

from odds import partitions
from odds.models import PriceChange

pytestmark = pytest.mark.django_db(transaction=True)
FAR = date(2031, 5, 4)


@pytest.fixture(autouse=True)
def _no_partitions_stay():
    before = partitions.existing()
    partitions._made.clear()
    yield
    with connection.cursor() as cursor:
        for day in partitions.existing() - before:
            cursor.execute(f"DROP TABLE {partitions.name_of(day)}")
    partitions._made.clear()


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def change(when: datetime, price_id: int = 1) -> None:
    PriceChange.objects.create(
        price_id=price_id, recorded_at=when, event_id=1, price=Decimal(2), last_update=None
    )


def rows_in(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ONLY {table}")
        return cursor.fetchone()[0]


def test_a_day_is_made_once():
    assert partitions.ensure(FAR) is True
    assert partitions.ensure(FAR) is False
    assert FAR in partitions.existing()


def test_history_goes_into_its_day():
    partitions.ensure(FAR)

    change(at(FAR, 0))
    change(at(FAR, 23))

    assert rows_in(partitions.name_of(FAR)) == 2


def test_a_day_that_nobody_made_is_caught_by_default_and_moved_out_when_it_is_made():
    change(at(FAR))
    change(at(FAR + timedelta(days=1)))
    assert rows_in("odds_pricechange_default") == 2

    partitions.ensure(FAR)

    assert rows_in(partitions.name_of(FAR)) == 1
    assert rows_in("odds_pricechange_default") == 1
    assert PriceChange.objects.count() == 2


def test_two_processes_that_make_the_same_day_make_it_once():
    made: list[bool] = []

    def make() -> None:
        try:
            made.append(partitions.ensure(FAR))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(made) == [False, False, True]


def test_a_new_day_has_the_index_and_the_key_of_the_table():
    partitions.ensure(FAR)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid "
            "WHERE x.indrelid = %s::regclass",
            [partitions.name_of(FAR)],
        )
        assert cursor.fetchone()[0] == 2


def test_upkeep_makes_a_week_ahead_and_drops_what_is_too_old():
    now = datetime.now(UTC)
    old = now.date() - timedelta(days=500)
    partitions.ensure(old)

    made, dropped = partitions.maintain(now=now)

    assert dropped == [old]
    assert {now.date() + timedelta(days=n) for n in range(8)} <= partitions.existing()
    assert partitions.maintain(now=now) == ([], [])
    assert made


def test_upkeep_settles_the_days_that_are_over_once_and_no_day_that_still_fills():
    now = datetime.now(UTC)
    yesterday = now.date() - timedelta(days=1)
    for day in (yesterday, now.date()):
        partitions.ensure(day)
    change(at(yesterday))

    within_the_hour = at(now.date(), 0) + timedelta(seconds=partitions.SETTLED_S - 1)
    assert partitions.settled_until(within_the_hour) == yesterday
    partitions.maintain(now=now)
    if now.hour:
        assert yesterday in partitions.settled()
    partitions.settle(yesterday)
    partitions.settle(yesterday)

    assert yesterday in partitions.settled()
    assert now.date() not in partitions.settled()
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            f"VACUUM (ANALYZE) {partitions.name_of(yesterday)}"  # as autovacuum does in its time
        )
        cursor.execute(
            "EXPLAIN SELECT price_id, recorded_at, price FROM odds_pricechange "
            f"WHERE event_id = 1 AND recorded_at < '{now.date()}' AND recorded_at >= '{yesterday}'"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert f"Index Only Scan using {partitions.name_of(yesterday)}_settled" in plan


def test_a_clock_that_jumped_ahead_drops_nothing(caplog):
    today = datetime.now(UTC)
    partitions.ensure(today.date())

    _, dropped = partitions.maintain(now=today + timedelta(days=500))

    assert dropped == []
    assert "clock" in caplog.text


def test_ingest_goes_on_when_the_day_cannot_be_made_now(caplog):
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE odds_pricechange_default IN ACCESS SHARE MODE")
        try:
            partitions.make_sure_of(at(FAR))
        finally:
            other.close()

    assert "could not be made now" in caplog.text
    assert FAR not in partitions.existing()
