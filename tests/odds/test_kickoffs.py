"""Nodes are there before the matches whose audience needs them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from odds.kickoffs import nodes_for_kickoffs
from odds.models import Event, Sport
from performance.balancing import floors

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _few(settings):
    settings.PERFORMANCE = {"BALANCING": {"fixtures_per_node": 2, "fixtures_lead_s": 900}}


def kick_off(*minutes):
    sport = Sport.objects.create(key="soccer_test", title="Test")
    for number, minute in enumerate(minutes):
        Event.objects.create(
            sport=sport, key=f"{number:032x}",
            commence_time=timezone.now() + timedelta(minutes=minute),
            home_team=f"Home {number}", away_team="Away",
        )  # fmt: skip


def test_only_what_begins_within_the_lead_counts(django_assert_num_queries):
    kick_off(-5, 1, 5, 14, 16, 600)

    with django_assert_num_queries(1):
        assert nodes_for_kickoffs("web") == 2  # three matches, two for one node


def test_sockets_are_left_to_demand():
    kick_off(1, 2, 3)

    assert nodes_for_kickoffs("live") == 0


def test_the_scaler_asks_the_calendar():
    kick_off(1, 2, 3)

    assert floors.Floors().of("web") == ({"fixtures": 2}, ())
