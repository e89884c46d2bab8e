import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from odds.feeds.json_stream import events_of
from odds.feeds.odds_api_json import parse_events
from odds.feeds.parsed import Refused, stored_price

ID = "0123456789abcdef0123456789abcdef"


def event(*markets, **changed):
    return {
        "id": ID,
        "sport_key": "basketball_nba",
        "sport_title": "NBA",
        "commence_time": "2026-04-16T19:00:00Z",
        "home_team": "Jazz",
        "away_team": "Heat",
        "bookmakers": [
            {
                "key": "a",
                "title": "A",
                "last_update": "2026-04-16T18:00:00Z",
                "markets": list(markets),
            }
        ],
        **changed,
    }


def h2h(home, away, **more):
    outcomes = [{"name": "Jazz", "price": home}, {"name": "Heat", "price": away}]
    return {"key": "h2h", "outcomes": outcomes, **more}


def test_american_prices_become_rationals_and_are_stored_rounded_down():
    parsed = parse_events([event(h2h(-110, 150))])

    assert parsed.exact == [Fraction(21, 11), Fraction(5, 2)]
    assert [quote.price for quote in parsed.batch.quotes] == [Decimal("1.909090"), Decimal("2.5")]
    assert stored_price(Fraction(21, 11)) < Fraction(21, 11)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: [one],
        lambda one: one,
        lambda one: {"timestamp": "2026-04-16T18:00:00Z", "data": [one]},
        lambda one: {"timestamp": "2026-04-16T18:00:00Z", "data": one},
        lambda one: {"success": True, "gamedata": [one]},
    ],
    ids=["list", "event", "history", "history of one", "wrapped"],
)
def test_every_envelope_is_unwrapped(wrap):
    assert len(parse_events(wrap(event(h2h(1.9, 1.9)))).batch.quotes) == 2


def test_times_are_iso_or_unix_and_a_market_without_one_has_its_bookmakers():
    iso = parse_events([event(h2h(1.9, 1.9))]).batch
    unix = parse_events(
        [event(h2h(1.9, 1.9, last_update=1776362400), commence_time=1776366000)]
    ).batch

    assert iso.events[0].commence_time == unix.events[0].commence_time
    assert iso.quotes[0].last_update == datetime(2026, 4, 16, 18, tzinfo=UTC)
    assert unix.quotes[0].last_update == datetime(2026, 4, 16, 18, tzinfo=UTC)


def test_outrights_without_teams_are_taken_and_decimal_prices_of_hundreds_stay_decimal():
    market = {
        "key": "outrights",
        "outcomes": [{"name": "X", "price": 990}, {"name": "Y", "price": 1.01}],
    }
    parsed = parse_events([event(market, home_team=None, away_team=None)])

    assert parsed.batch.events[0].home_team is None
    assert parsed.exact == [Fraction(990), Fraction(101, 100)]


def test_what_is_not_taken_is_reported_with_its_event_column_and_value():
    bad = h2h(1.0, None)
    parsed = parse_events(
        [event(h2h(1.9, 2.0)), event(bad, id="f" * 32), 7, event(commence_time="?")]
    )

    assert [(s.row, s.column, s.value) for s in parsed.skipped] == [
        (1, "a.h2h.Jazz", "1.0"),
        (1, "a.h2h.Heat", ""),
        (2, "", "7"),
        (3, "commence_time", "?"),
    ]


def test_of_a_price_that_stands_twice_the_later_confirmed_one_is_taken():
    early = h2h(1.8, 2.1, last_update="2026-04-16T17:00:00Z")
    late = h2h(1.9, 2.0, last_update="2026-04-16T17:30:00Z")

    for markets in ((early, late), (late, early)):
        parsed = parse_events([event(*markets)])
        assert sorted(parsed.exact) == [Fraction(19, 10), Fraction(2)]
        assert len(parsed.skipped) == 2


def test_two_players_over_are_two_outcomes():
    outcomes = [
        {"name": "Over", "description": player, "price": 1.9, "point": 20.5}
        for player in ("Ann", "Bob")
    ]
    parsed = parse_events([event({"key": "player_points", "outcomes": outcomes})])

    assert [quote.outcome for quote in parsed.batch.quotes] == ["Ann: Over", "Bob: Over"]


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"message": "no", "error_code": "OUT_OF_USAGE_CREDITS"}, "OUT_OF_USAGE_CREDITS"),
        ([{"key": "k", "group": "g", "has_outrights": False}], "list of sports"),
        ([{"id": ID, "sport_key": "k", "commence_time": 1, "scores": None}], "scores"),
        ({"success": True, "data": [{"sport_nice": "NBA", "sites": []}]}, "version 3"),
        ([{"id": ID, "sport_key": "k", "commence_time": 1}], "without odds"),
        ([event(h2h(-110, 1.9))], "mixed"),
        ("text", "str"),
        ({"op": "mcm"}, "`op`"),
    ],
)
def test_what_is_not_odds_is_refused_by_its_name(payload, name):
    with pytest.raises(Refused, match=name):
        parse_events(payload)


@pytest.mark.parametrize("pad", [0, 1 << 18])
def test_a_list_is_read_piece_by_piece_as_json_reads_it(tmp_path, pad):
    events = [event(h2h(1.9, 2.0), id=f"{n:032x}", note="x" * (pad // 100)) for n in range(250)]
    path = tmp_path / "odds.json"
    path.write_text(json.dumps(events, indent=2))

    pieces = list(events_of(path))
    assert (
        json.loads(json.dumps([one for piece in pieces for one in piece], default=float)) == events
    )
    assert len(pieces) == 3


@pytest.mark.parametrize(
    "text", ['[{"a": 1}', '[{"a": 1} {"b": 2}]', "[{]", '[{"a": 1}] x', '{"a"']
)
def test_broken_json_is_refused(tmp_path, text):
    path = tmp_path / "odds.json"
    path.write_text(text)

    with pytest.raises(Refused, match="no JSON"):
        list(events_of(path))
