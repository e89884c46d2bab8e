"""A market's sheet is written with its prices and is there while boards show its event."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from odds import answers, boards, calendars, compared, sheets, v4
from odds.models import Calendar, Event, Sheet
from odds.services import maintain

from . import market

pytestmark = pytest.mark.django_db


def revisions() -> dict[tuple[str, str], int]:
    rows = Sheet.objects.values_list("event__key", "market", "revision")
    return {(key, market): revision for key, market, revision in rows}


def test_a_batch_writes_the_sheets_of_its_markets_and_of_no_other():
    market.open_market(2)
    assert set(revisions()) == {
        (market.key(number), name) for number in (0, 1) for name in ("h2h", "totals", "spreads")
    }
    before = revisions()

    quote = market.quote(0, "pinnacle", "Arsenal", "2.61", last_update=market.now())
    market.send(quote, events=[])
    after = revisions()
    assert {place for place in after if after[place] != before[place]} == {(market.key(0), "h2h")}
    assert after[market.key(0), "h2h"] == Event.objects.get(key=market.key(0)).revision
    assert '"pinnacle"' in Sheet.objects.get(event__key=market.key(0), market="h2h").lines


def test_the_sheets_of_a_corrected_event_are_of_its_new_revision():
    market.open_market(2)
    before = revisions()
    market.send(events=[market.event(0, home_team="Arsenal FC")])

    after = revisions()
    assert {key for key, name in after if after[key, name] > before[key, name]} == {market.key(0)}
    assert boards.board("soccer_epl", market="h2h").events[0].home_team == "Arsenal FC"


def test_a_move_in_another_market_makes_no_board_read_an_event_anew(monkeypatch):
    market.open_market(3)
    boards.board("soccer_epl", market="h2h")
    read = []
    compare = compared._compare
    monkeypatch.setattr(
        compared, "_compare", lambda one, *rest: read.append(one.id) or compare(one, *rest)
    )
    moved, _ = market.line(1, "bet365", "totals", "2.5", "1.91", "1.95")
    market.send(moved, events=[])

    boards.board("soccer_epl", market="h2h")
    assert read == []
    assert boards.board("soccer_epl", market="totals").events[1].id == market.key(1)
    assert market.key(1) in read


def test_events_that_are_over_have_no_sheet_and_lose_the_one_they_had():
    market.open_market(2)
    over = market.event(0, hours=-sheets.IN_PLAY_H - 1)
    quote = market.quote(0, "pinnacle", "Arsenal", "2.62", last_update=market.now())
    market.send(quote, events=[over, market.event(1)])

    assert {key for key, _ in revisions()} == {market.key(1)}
    (event,) = boards.event(market.key(0)).events
    assert 2.62 in [offer.price for line in event.lines for offer in line.offers]


def test_upkeep_forgets_the_sheets_of_events_that_are_over_or_gone():
    market.open_market(3)
    long_ago = market.now() - timedelta(hours=sheets.IN_PLAY_H, seconds=1)
    Event.objects.filter(key=market.key(0)).update(commence_time=long_ago)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM odds_sheet WHERE market = 'spreads'")
        cursor.execute(
            "INSERT INTO odds_sheet (event_id, market, revision, lines) VALUES (0, 'h2h', 1, '')"
        )
    assert Sheet.objects.count() == 3 * 2 + 1

    maintain()
    assert {key for key, _ in revisions()} == {market.key(1), market.key(2)}
    assert Sheet.objects.count() == 2 * 2


def test_a_bookmaker_that_is_not_asked_for_stays_out_of_what_a_sheet_gives():
    market.open_market(1)
    (event,) = boards.board("soccer_epl", market="h2h", bookmakers=["bet365"]).events

    assert {offer.bookmaker for line in event.lines for offer in line.offers} == {"bet365"}
    assert b"pinnacle" not in answers.odds("soccer_epl", bookmakers=["bet365"])


def test_american_odds_are_those_that_postgresql_rounds_to():
    prices = [Decimal(number) / 1000 for number in (*range(1001, 3200), 10_125, 101_005)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN p >= 2 THEN round((p - 1) * 100) ELSE round(-100 / (p - 1)) END::int "
            "FROM unnest(%s::numeric[]) p",
            [prices],
        )
        rounded = [row[0] for row in cursor.fetchall()]

    assert [int(v4.american(float(price))) for price in prices] == rounded


def test_a_calendar_is_kept_by_what_adds_or_moves_an_event():
    market.open_market(3)
    market.send(events=[market.event(7, hours=-1)])
    market.send(events=[market.event(8, hours=-30)])  # over: the calendar need not know it
    (calendar,) = Calendar.objects.all()
    assert calendar.begins == sorted(calendar.begins)
    assert len(calendar.begins) == 4

    market.send(events=[market.event(0, hours=-sheets.IN_PLAY_H - 1)])
    assert len(Calendar.objects.get().begins) == 3
    long_ago = market.now() - calendars.MARGIN - timedelta(minutes=1)
    assert [calendars.counts(when) for when in (market.now(), long_ago)] == [True, False]
