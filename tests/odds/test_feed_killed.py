"""kill -9 anywhere in ingest, start again: prices, history and opportunities as if nothing was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from odds.models import FeedCursor, Opportunity, OutboxMessage, Price, PriceChange
from performance.core import stores

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timed]
ROOT = Path(__file__).resolve().parents[2]
BATCHES = 12
POINTS = [
    "after_copy",
    "after_merge",
    "before_commit",
    "after_commit",
    "before_deliver",
    "between_tellings",
    "before_forget",
]


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def _none_is_left_running():
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        with process:
            pass  # waits for it, and closes its output


def start(batches: int, failpoint: str = "") -> subprocess.Popen:
    server = urlsplit(os.environ["DATABASE_URL"])
    address = server._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    process = subprocess.Popen(
        [
            sys.executable, "manage.py", "feed", "--source", "simulate", "--speed", "0",
            "--events", "8", "--bookmakers", "12", "--changes-per-s", "400",
            "--batches", str(batches),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": address, "PROTIPP_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    STARTED.append(process)
    return process


def end_of(process: subprocess.Popen) -> tuple[int, str]:
    """Wait for the feed's end; one that hangs is killed and fails the test."""
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"the feed did not end: {output}")
    return process.returncode, output


def tick() -> int:
    """Where the feed stands; -1 before its first batch."""
    row = FeedCursor.objects.filter(pk="simulate").first()
    return -1 if row is None else row.cursor["tick"]


def finish(until_tick: int = BATCHES - 1) -> None:
    """Run the feed on until its cursor stands at `until_tick`."""
    left = until_tick - tick()
    if left > 0:
        code, output = end_of(start(left))
        assert code == 0, output


def everything() -> tuple:
    """What is stored, without what differs between two runs: ids and times of our own."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT e.sport_id, e.home_team, e.away_team, b.key, p.market, p.outcome, p.point,
                p.price, p.suspended_at IS NULL,
                ARRAY(SELECT c.price::text FROM odds_pricechange c WHERE c.price_id = p.id
                      ORDER BY c.recorded_at)
            FROM odds_price p
            JOIN odds_event e ON e.id = p.event_id JOIN odds_bookmaker b ON b.id = p.bookmaker_id
            ORDER BY 1, 2, 3, 4, 5, 6, 7
            """
        )
        prices = cursor.fetchall()
    opportunities = [
        (one.event.home_team, one.market, one.point, one.sum_inverse, one.closed_at is None)
        for one in Opportunity.objects.select_related("event")
    ]
    return prices, sorted(opportunities, key=str)


def reset() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE odds_price, odds_pricechange, odds_opportunity, odds_event, odds_bookmaker, "
            "odds_sport, odds_feedcursor, odds_outboxmessage, odds_refusedquote CASCADE"
        )


@pytest.fixture
def uninterrupted():
    finish()
    expected = everything()
    assert len(expected[0]) > 200
    assert PriceChange.objects.count() > len(expected[0])
    reset()
    return expected


def test_killed_at_every_point_the_end_is_that_of_an_uninterrupted_run(uninterrupted):
    for point in POINTS:
        code, output = end_of(start(BATCHES, f"{point}:2"))  # in its second batch
        assert code == -signal.SIGKILL, (point, output)
        check_history()
    assert tick() < BATCHES
    finish()

    assert everything() == uninterrupted
    assert not OutboxMessage.objects.exists()


def test_killed_at_random_the_end_is_that_of_an_uninterrupted_run(uninterrupted):
    dice = random.Random(20261124)
    for left in (5, 3, 2):  # a run never gets further than the end that is compared
        process = start(left)
        time.sleep(1.0 + 2 * dice.random())
        process.kill()
        end_of(process)
        check_history()
    finish()

    assert everything() == uninterrupted
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("point", ["after_commit", "before_deliver", "between_tellings"])
def test_what_was_committed_is_told_by_the_next_start(point):
    pubsub = stores.bus().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("odds:changes")
    pubsub.get_message(timeout=1)
    end_of(start(3, point))
    left = OutboxMessage.objects.get()
    assert pubsub.get_message(timeout=0.2) is None
    before = generation(left.tags[0])

    end_of(start(1))

    message = pubsub.get_message(timeout=5)
    assert json.loads(message["data"])["id"] == left.pk
    assert generation(left.tags[0]) not in (None, before)
    assert not OutboxMessage.objects.exists()
    pubsub.close()


def test_sigterm_ends_the_feed_after_its_batch():
    process = start(100_000)
    deadline = time.monotonic() + 30
    while not FeedCursor.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.1)

    process.terminate()
    code, output = end_of(process)

    assert code == 0, output
    assert "batches" in output
    assert not OutboxMessage.objects.exists()


def generation(tag: str) -> bytes | None:
    """What the cache store holds for a tag; every invalidation makes it another."""
    keys = [key for key in stores.cache_store().scan_iter(count=1000) if key.endswith(tag.encode())]
    return stores.cache_store().get(keys[0]) if keys else None


def check_history() -> None:
    """The last line of each price's history is the price."""
    for price in Price.objects.all():
        last = PriceChange.objects.filter(price_id=price.pk).order_by("-recorded_at").first()
        assert last is not None
        assert last.price == (None if price.suspended_at else price.price)
