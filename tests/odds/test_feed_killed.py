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

from odds.models import FeedCursor, Opportunity, OutboxMessage, PriceChange
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


class Feed:
    """A feed under way: a process of its own, forked off a loaded one."""

    def __init__(self, loaded: subprocess.Popen, batches: int, failpoint: str, output: Path):
        self._loaded = loaded
        self._output = output
        argv = [
            "feed", "--source", "simulate", "--speed", "0", "--events", "8", "--bookmakers", "12",
            "--changes-per-s", "400", "--batches", str(batches),
        ]  # fmt: skip
        self.pid = self._ask({"argv": argv, "failpoint": failpoint, "output": str(output)})
        self.code = None

    def _ask(self, what: dict) -> int | None:
        self._loaded.stdin.write(json.dumps(what) + "\n")
        self._loaded.stdin.flush()
        return json.loads(self._loaded.stdout.readline())

    def send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self._ask({"poll": self.pid})
        return self.code

    def end(self) -> tuple[int, str]:
        """Wait for its end; one that hangs is killed and fails the test."""
        ends = time.monotonic() + 120
        while self.poll() is None:
            if time.monotonic() > ends:
                os.kill(self.pid, signal.SIGKILL)
                pytest.fail(f"the feed did not end: {self._output.read_text()}")
            time.sleep(0.01)
        return self.code, self._output.read_text()


@pytest.fixture(scope="module")
def loaded(django_db_setup, django_db_blocker):
    server = urlsplit(os.environ["DATABASE_URL"])
    address = server._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("commands_by_fork.py"))],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def start(loaded, tmp_path):
    """`start(batches, failpoint)` runs a feed; none is left running."""
    started: list[Feed] = []

    def start_one(batches: int, failpoint: str = "") -> Feed:
        started.append(Feed(loaded, batches, failpoint, tmp_path / f"{len(started)}.log"))
        return started[-1]

    yield start_one
    for feed in started:
        feed.send(signal.SIGKILL)
        feed.end()


def tick() -> int:
    """Where the feed stands; -1 before its first batch."""
    row = FeedCursor.objects.filter(pk="simulate").first()
    return -1 if row is None else row.cursor["tick"]


def finish(start) -> None:
    """Run the feed on to the end that is compared."""
    left = BATCHES - 1 - tick()
    if left > 0:
        code, output = start(left).end()
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


def test_killed_anywhere_the_end_is_that_of_an_uninterrupted_run(start):
    finish(start)
    uninterrupted = everything()
    assert len(uninterrupted[0]) > 200
    assert PriceChange.objects.count() > len(uninterrupted[0])
    reset()

    for point in POINTS:
        code, output = start(BATCHES, f"{point}:2").end()  # in its second batch
        assert code == -signal.SIGKILL, (point, output)
        check_history()
    assert tick() < BATCHES
    finish(start)
    assert everything() == uninterrupted
    assert not OutboxMessage.objects.exists()

    reset()
    dice = random.Random(20261124)
    for left in (5, 3, 2):  # a run never gets further than the end that is compared
        feed = start(left)
        time.sleep(0.1 + dice.random())  # any moment will do, its end too
        feed.send(signal.SIGKILL)
        feed.end()
        check_history()
    finish(start)
    assert everything() == uninterrupted
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize("point", ["after_commit", "before_deliver", "between_tellings"])
def test_what_was_committed_is_told_by_the_next_start(start, point):
    pubsub = stores.bus().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("odds:changes")
    pubsub.get_message(timeout=1)
    code, output = start(3, point).end()
    assert code == -signal.SIGKILL, output
    left = OutboxMessage.objects.get()
    assert pubsub.get_message(timeout=0.2) is None
    before = generation(left.tags[0])

    code, output = start(1).end()
    assert code == 0, output

    message = pubsub.get_message(timeout=30)
    assert json.loads(message["data"])["id"] == left.pk
    assert generation(left.tags[0]) not in (None, before)
    assert not OutboxMessage.objects.exists()
    pubsub.close()


def test_sigterm_ends_the_feed_after_its_batch(start):
    feed = start(100_000)
    deadline = time.monotonic() + 60
    while not FeedCursor.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    feed.send(signal.SIGTERM)
    code, output = feed.end()

    assert code == 0, output
    assert "batches" in output
    assert not OutboxMessage.objects.exists()


def generation(tag: str) -> bytes | None:
    """What the cache store holds for a tag; every invalidation makes it another."""
    keys = [key for key in stores.cache_store().scan_iter(count=1000) if key.endswith(tag.encode())]
    return stores.cache_store().get(keys[0]) if keys else None


def check_history() -> None:
    """The last line of each price's history is the price."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.id, p.price, p.suspended_at, c.price
            FROM odds_price p LEFT JOIN LATERAL (
                SELECT price, price_id FROM odds_pricechange WHERE price_id = p.id
                ORDER BY recorded_at DESC LIMIT 1
            ) c ON true
            WHERE c.price_id IS NULL OR c.price IS DISTINCT FROM
                CASE WHEN p.suspended_at IS NULL THEN p.price END
            """
        )
        assert cursor.fetchall() == []
