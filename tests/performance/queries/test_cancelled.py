"""Cut off in the middle, a request leaves nothing half-done, and its connection lives on."""

import asyncio
import contextvars
import threading
import time
from datetime import datetime
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, connections
from django.http import HttpRequest

from odds.models import Event, Price, PriceChange
from odds.quotes import Batch, EventInfo, Quote
from odds.services import ingest
from performance.queries import activity, capture, middleware
from performance.queries.errors import CannotExplain
from performance.queries.explaining import analyze

PATIENCE_S = 30


def until(look):
    ends = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def cancel_what_runs(text):
    row = until(lambda: next((r for r in activity.running() if text in r["sql"].lower()), None))
    activity.cancel(row["pid"], datetime.fromisoformat(row["backend_start"]))


class InAThread(threading.Thread):
    """Runs `act` on a connection of its own; afterwards `error` is what it raised."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.error = None
        self.alive_after = None
        self.start()

    def run(self):
        try:
            self.act()
        except (CannotExplain, OperationalError) as error:
            self.error = error
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            self.alive_after = cursor.fetchone()
        connections.close_all()


def ask(times, seconds):
    with connection.cursor() as cursor:
        for number in range(times):
            cursor.execute("SELECT pg_sleep(%s), %s", [seconds, number])


@pytest.mark.django_db(transaction=True)
def test_a_request_cancelled_between_its_statements_is_still_accounted_for():
    """A browser that leaves cancels the coroutine: what it asked so far was asked."""
    context = contextvars.copy_context()

    async def serve():
        asked, waiting = asyncio.Event(), asyncio.Event()

        async def view(request):
            await sync_to_async(ask)(10, 0.003)
            asked.set()
            await waiting.wait()

        handler = middleware.count_queries(view)
        task = asyncio.get_running_loop().create_task(handler(HttpRequest()), context=context)
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sync_to_async(connections.close_all)()  # of the thread that asked

    asyncio.run(serve())

    (found,) = capture.findings(capture.FINDINGS_KEY)
    assert found["count"] == 10
    assert context.get(capture.asked) is None


@pytest.mark.django_db(transaction=True)
def test_a_request_cancelled_within_a_statement_leaves_the_connection_whole():
    async def serve():
        async def view(request):
            await sync_to_async(ask)(1, 1.0)

        task = asyncio.get_running_loop().create_task(middleware.count_queries(view)(HttpRequest()))
        await sync_to_async(see_it_run, thread_sensitive=False)()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await sync_to_async(one)()

    def see_it_run():
        try:
            until(lambda: any("SELECT pg_sleep" in row["sql"] for row in activity.running()))
        finally:
            connections.close_all()

    def one():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return cursor.fetchone()
        finally:
            connections.close_all()

    assert asyncio.run(serve()) == (1,)


@pytest.mark.django_db(transaction=True)
def test_an_explain_that_staff_cancel_says_so_and_its_connection_lives_on(settings):
    settings.PERFORMANCE = {**settings.PERFORMANCE, "QUERIES": {"explain_ms": 60_000.0}}
    thread = InAThread(lambda: analyze("SELECT count(*) FROM generate_series(1, 1000000000) a"))
    cancel_what_runs("generate_series")
    thread.join(PATIENCE_S)

    assert isinstance(thread.error, CannotExplain)
    assert "canceling statement due to user request" in str(thread.error)
    assert thread.alive_after == (1,)


def batch(price):
    now = datetime.now().astimezone()
    event = EventInfo(
        key="c" * 32, sport_key="soccer_epl", sport_title="EPL", commence_time=now,
        home_team="Arsenal", away_team="Everton",
    )  # fmt: skip
    quote = Quote(
        event_key=event.key, bookmaker_key="bet365", market="h2h", outcome="Arsenal", point=None,
        price=Decimal(price), last_update=now,
    )  # fmt: skip
    return Batch(source="t", events=[event], bookmakers={"bet365": "B"}, quotes=[quote])


@pytest.mark.django_db(transaction=True)
def test_a_batch_cancelled_in_the_middle_changes_nothing_and_may_come_again():
    ingest(batch("2.5"))
    revision = Event.objects.get().revision
    again = batch("2.6")
    # On a connection of its own: within a transaction, who runs what is looked at only once.
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM odds_event FOR UPDATE")  # ingest waits for the event
        thread = InAThread(lambda: ingest(again))
        cancel_what_runs("insert into odds_event")
        thread.join(PATIENCE_S)
    finally:
        other.rollback()
        other.close()

    assert isinstance(thread.error, OperationalError)
    assert thread.alive_after == (1,)
    assert (Price.objects.get().price, PriceChange.objects.count()) == (Decimal("2.5"), 1)
    assert Event.objects.get().revision == revision

    assert ingest(again).changed == 1
    assert Event.objects.get().revision > revision
