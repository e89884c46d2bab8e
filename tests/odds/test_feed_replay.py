"""Recordings played again: in order, shifted, and past what cannot be read."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from odds.errors import FeedMisconfigured
from odds.feeds.replay import ReplaySource
from odds.feeds.runner import Runner
from odds.models import FeedCursor, Price, PriceChange, RefusedQuote

pytestmark = pytest.mark.django_db(transaction=True)
RECORDED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def recording(minute: int, price: float) -> list[dict]:
    at = (RECORDED + timedelta(minutes=minute)).isoformat()
    return [
        {
            "id": "b" * 32,
            "sport_key": "soccer_epl",
            "sport_title": "EPL",
            "commence_time": "2026-03-01T15:00:00Z",
            "home_team": "Arsenal",
            "away_team": "Everton",
            "bookmakers": [
                {
                    "key": "unibet",
                    "title": "Unibet",
                    "last_update": at,
                    "markets": [
                        {
                            "key": "h2h",
                            "last_update": at,
                            "outcomes": [{"name": "Arsenal", "price": price}],
                        }
                    ],
                }
            ],
        }
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # By name they are out of order: the time in them counts.
    for name, minute, price in (("c", 0, 1.5), ("a", 10, 1.6), ("b", 5, 1.55)):
        (tmp_path / f"{name}.json").write_text(json.dumps(recording(minute, price)))
    return tmp_path


def play(source: ReplaySource, most: int | None = None) -> Runner:
    runner = Runner(source, stop=threading.Event(), most=most)
    runner.run()
    return runner


def history() -> list[Decimal]:
    return list(PriceChange.objects.order_by("recorded_at").values_list("price", flat=True))


def test_recordings_are_played_in_the_order_of_their_times(folder):
    play(ReplaySource(path=folder, speed=0))

    assert history() == [Decimal("1.5"), Decimal("1.55"), Decimal("1.6")]


def test_a_replay_that_was_stopped_goes_on(folder):
    play(ReplaySource(path=folder, speed=0), most=1)
    assert FeedCursor.objects.get().cursor["next"] == 1

    play(ReplaySource(path=folder, speed=0))

    assert history() == [Decimal("1.5"), Decimal("1.55"), Decimal("1.6")]


def test_a_replay_that_ended_begins_again_and_doubles_nothing(folder):
    play(ReplaySource(path=folder, speed=0))
    play(ReplaySource(path=folder, speed=0))

    assert history() == [Decimal("1.5"), Decimal("1.55"), Decimal("1.6")]


def test_it_waits_as_long_as_lay_between_them(folder):
    slept = []
    source = ReplaySource(path=folder, speed=10)

    list(source.batches(None, lambda seconds: bool(slept.append(seconds))))

    assert slept == [30.0, 30.0]


def test_shifted_to_now_all_times_move_together(folder):
    now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    source = ReplaySource(path=folder, speed=0, shift_to_now=True, clock=lambda: now)

    batches = list(source.batches(None, lambda seconds: False))

    assert [batch.quotes[0].last_update for batch in batches] == [
        now,
        now + timedelta(minutes=5),
        now + timedelta(minutes=10),
    ]
    assert batches[0].events[0].commence_time == now + timedelta(hours=3)


def test_what_cannot_be_read_is_kept_apart_and_the_others_go_on(folder):
    (folder / "d.json").write_text("<html>502</html>")
    (folder / "e.json").write_text('[{"id": ')
    (folder / "f.json").write_text('{"message": "no", "error_code": "INVALID_KEY"}')

    runner = play(ReplaySource(path=folder, speed=0))

    assert runner.totals.batches == 3
    assert Price.objects.count() == 1
    reasons = " ".join(RefusedQuote.objects.values_list("reason", flat=True))
    assert "left out" in reasons
    assert "INVALID_KEY" in reasons


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FeedMisconfigured, match="holds no JSON"):
        ReplaySource(path=tmp_path)


def test_the_command_says_what_it_needs():
    with pytest.raises(CommandError, match="--path"):
        call_command("feed", source="replay")


@pytest.mark.samples
def test_real_recordings_are_played(samples, settings):
    runner = play(ReplaySource(path=samples / "odds_api_v4" / "odds", speed=0))

    assert runner.totals.batches >= 10
    assert Price.objects.count() > 1000
    # Old matches open no opportunities on today's list.
    assert not Price.objects.filter(event__opportunities__isnull=False).exists()
