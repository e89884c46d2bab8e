"""The JSON API: The Odds API v4's shape, and every wrong input refused in one voice."""

from __future__ import annotations

import json

import pytest

from odds import families
from odds.answers import UPCOMING

from . import market

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(client):
    def get(path, **query):
        return client.get(f"/api/v1/{path}", query)

    return get


def shape(value):
    """The keys of a JSON value at each depth, whatever the values are."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__ if not isinstance(value, float | int) else "number"


def test_odds_have_the_shape_of_v4(api):
    market.open_market()

    (first, *_) = api("odds", sport="soccer_epl").json()
    assert shape(first) == {
        "id": "str",
        "sport_key": "str",
        "sport_title": "str",
        "commence_time": "str",
        "home_team": "str",
        "away_team": "str",
        "bookmakers": [
            {
                "key": "str",
                "title": "str",
                "last_update": "str",
                "markets": [
                    {
                        "key": "str",
                        "last_update": "str",
                        "outcomes": [{"name": "str", "price": "number"}],
                    }
                ],
            }
        ],
    }


def test_a_recorded_answer_has_no_key_that_ours_lacks(api, samples):
    market.open_market()
    (ours, *_) = api("odds", sport="soccer_epl", markets="h2h,totals,spreads").json()
    outcomes = [
        set(outcome)
        for bookmaker in ours["bookmakers"]
        for one in bookmaker["markets"]
        for outcome in one["outcomes"]
    ]
    ours_by_depth = (
        set(ours),
        set(ours["bookmakers"][0]),
        set(ours["bookmakers"][0]["markets"][0]),
        set().union(*outcomes),
    )
    beyond = {"has_outrights", "link", "sid", "bet_limit", "home_rotation", "away_rotation"}

    checked = 0
    for path in sorted((samples / "odds_api_v4" / "odds").glob("*.json")):
        recorded = json.loads(path.read_text())
        for event in recorded if isinstance(recorded, list) else []:
            if "startTime" in event:  # somebody's own remaking, not the provider's answer
                continue
            for bookmaker in event.get("bookmakers", []):
                for one in bookmaker["markets"]:
                    theirs = (event, bookmaker, one, one["outcomes"][0] if one["outcomes"] else {})
                    for mine, keys in zip(ours_by_depth, theirs, strict=True):
                        assert set(keys) - beyond <= mine, path.name
                        checked += 1
    assert checked > 1000


def test_american_prices_are_integers_and_unix_times_are_seconds(api):
    market.send(*market.book(0, "bet365", "2.50", "3.00", "1.50"))

    (event,) = api("odds", sport="soccer_epl", oddsFormat="american", dateFormat="unix").json()
    prices = {one["name"]: one["price"] for one in event["bookmakers"][0]["markets"][0]["outcomes"]}
    assert prices == {"Arsenal": 150, "Draw": 200, "Everton": -200}
    assert isinstance(event["commence_time"], int)


def test_markets_bookmakers_and_times_narrow_the_answer(api):
    market.open_market()

    events = api("odds", sport="soccer_epl", markets="totals", bookmakers="pinnacle").json()
    assert {one["key"] for event in events for one in event["bookmakers"]} == {"pinnacle"}
    assert {
        one["key"] for event in events for book in event["bookmakers"] for one in book["markets"]
    } == {"totals"}
    until = market.event(1).commence_time.isoformat()
    assert len(api("odds", sport="soccer_epl", commenceTimeTo=until).json()) == 2
    assert len(api("odds", sport="soccer_epl", commenceTimeFrom=until).json()) == 1


def test_a_suspended_price_is_left_out(api):
    market.open_market(1)
    market.send(withdrawn=market.book(0, "pinnacle", "2.60", "3.40", "2.70"))

    (event,) = api("odds", sport="soccer_epl").json()
    assert {one["key"] for one in event["bookmakers"]} == {"bet365", "unibet"}


def test_upcoming_is_what_is_in_play_and_the_next_eight_of_all_sports(api):
    market.open_market(12)
    market.send(*market.book(20, "bet365", "2", "3", "4"), events=[market.event(20, hours=-1)])

    assert len(api("odds", sport=UPCOMING).json()) == 9


def test_an_event_says_what_is_best_fair_and_suspended(api):
    market.open_market()
    market.send(withdrawn=[market.quote(0, "pinnacle", "Arsenal", "2.60")])

    found = api(f"events/{market.key(0)}", history="true").json()
    winner = found["compared"][0]
    assert winner["market"] == "h2h"
    home = winner["outcomes"][0]
    assert (home["best"], home["best_at"], home["suspended_at"]) == (2.5, ["bet365"], ["pinnacle"])
    assert set(winner["overround_pct"]) == {"bet365", "unibet"}
    assert found["history"][0]["changes"]
    assert "history" not in api(f"events/{market.key(0)}").json()


def test_arbitrage_has_legs_and_stakes_that_add_up(api):
    market.open_market()
    market.open_arbitrage()

    (one,) = api("arbitrage", bankroll="100").json()["opportunities"]
    assert one["roi_pct"] == pytest.approx(5)
    assert {leg["outcome"]: leg["bookmakers"] for leg in one["legs"]} == {
        "Over": ["bet365"],
        "Under": ["pinnacle"],
    }
    stakes = one["stakes"]
    assert sum(bet["stake"] for bet in stakes["bets"]) == pytest.approx(stakes["staked"])
    assert all(bet["pays"] - stakes["staked"] >= stakes["profit"] - 1e-9 for bet in stakes["bets"])
    assert stakes["profit"] == 5


def test_arbitrage_filters_by_sport_bookmaker_return_and_doubt(api):
    market.open_market()
    market.open_arbitrage()

    def count(**query):
        return len(api("arbitrage", **query).json()["opportunities"])

    assert count() == count(sport="soccer_epl") == count(min_roi="5") == count(suspect="hide") == 1
    assert count(bookmakers="bet365,pinnacle") == 1
    assert count(bookmakers="bet365") == count(min_roi="5.1") == 0


WRONG = {
    "odds without sport": ("odds", {}, 400, "sport"),
    "unknown parameter": ("odds", {"sport": "soccer_epl", "market": "h2h"}, 400, "market"),
    "unknown market": ("odds", {"sport": "soccer_epl", "markets": "h2h,foo"}, 400, "markets"),
    "props market": ("odds", {"sport": "soccer_epl", "markets": "btts"}, 400, "markets"),
    "wrong format": ("odds", {"sport": "soccer_epl", "oddsFormat": "x"}, 400, "oddsFormat"),
    "wrong dates": ("odds", {"sport": "soccer_epl", "dateFormat": "x"}, 400, "dateFormat"),
    "wrong time": (
        "odds",
        {"sport": "soccer_epl", "commenceTimeFrom": "tomorrow"},
        400,
        "commenceTimeFrom",
    ),
    "wrong bookmaker": ("odds", {"sport": "soccer_epl", "bookmakers": "A b"}, 400, "bookmakers"),
    "many bookmakers": (
        "odds",
        {"sport": "soccer_epl", "bookmakers": ",".join(f"b{one}" for one in range(41))},
        400,
        "bookmakers",
    ),
    "long sport": ("odds", {"sport": "x" * 5000}, 400, "sport"),
    "unknown sport": ("odds", {"sport": "soccer_elp"}, 404, "sport"),
    "short id": ("events/abc", {}, 400, "event_id"),
    "unknown id": (f"events/{'0' * 32}", {}, 404, "event_id"),
    "event parameter": (f"events/{market.key(0)}", {"x": "1"}, 400, "x"),
    "no bankroll": ("arbitrage", {"bankroll": "0"}, 400, "bankroll"),
    "odd bankroll": ("arbitrage", {"bankroll": "1e99"}, 400, "bankroll"),
    "part of a cent": ("arbitrage", {"bankroll": "10.001"}, 400, "bankroll"),
    "not a number": ("arbitrage", {"min_roi": "NaN"}, 400, "min_roi"),
    "unknown arbitrage sport": ("arbitrage", {"sport": "soccer_eplx"}, 404, "sport"),
    "sports parameter": ("sports", {"all": "true"}, 400, "all"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_naming_field_value_and_what_is_allowed(api, case):
    market.open_market(1)
    path, query, status, field = WRONG[case]

    answer = api(path, **query)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (status, field)
    assert set(error) == {"field", "value", "allowed", "message"}
    assert field in error["message"] or str(error["value"]) in error["message"]
    assert len(answer.content) < 1500
    assert answer["Cache-Control"] == "no-store"


def test_a_mistyped_sport_hears_the_nearest_one(api):
    market.open_market(1)

    error = api("odds", sport="soccer_elp").json()["error"]
    assert error["allowed"] == ["soccer_epl"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_another_method_is_refused_in_json(client, method):
    answer = getattr(client, method)("/api/v1/odds")

    assert answer.status_code == 405
    assert answer["Allow"] == "GET"
    assert answer.json()["error"]["field"] == "method"


def test_an_unknown_address_is_refused_in_json(client):
    answer = client.get("/api/v1/nothing")

    assert (answer.status_code, answer.json()["error"]["field"]) == (404, "path")


def test_a_broken_loader_is_a_503_that_says_when_to_come_back(api, monkeypatch):
    def broken():
        raise OSError("the database is away")

    monkeypatch.setattr("odds.boards.sports", broken)

    answer = api("sports")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert set(answer.json()["error"]) >= {"reason", "retry_after_s"}


def test_a_mistake_of_ours_is_a_500_without_details(api, client, monkeypatch):
    client.raise_request_exception = False

    def mistaken(*args):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("odds.api._odds_arguments", mistaken)

    answer = api("odds", sport="soccer_epl")
    assert answer.status_code == 500
    assert b"secret" not in answer.content
    assert answer.json()["error"]["field"] == "server"


def test_the_openapi_page_names_no_other_host_and_has_no_inline_script(client):
    page = client.get("/api/docs").content.decode()

    assert "https://" not in page
    assert page.count("<script") == page.count("<script src=") + page.count(
        'type="application/json"'
    )
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {path for path in paths if not path.startswith("/api/v1/performance/")} == {
        "/api/v1/sports",
        "/api/v1/odds",
        "/api/v1/events/{event_id}",
        "/api/v1/arbitrage",
    }


@pytest.mark.django_db(transaction=True)
def test_a_second_answer_is_a_hit_with_an_etag_that_gives_304(client):
    market.open_market()

    first = client.get("/api/v1/odds?sport=soccer_epl")
    again = client.get("/api/v1/odds?sport=soccer_epl")
    same = client.get("/api/v1/odds?sport=soccer_epl", headers={"If-None-Match": first["ETag"]})
    assert "fwd=uri-miss" in first["Cache-Status"]
    assert "hit" in again["Cache-Status"]
    assert again.content == first.content
    assert (same.status_code, same.content) == (304, b"")
    assert "sport:soccer_epl" in first["Surrogate-Key"]


@pytest.mark.django_db(transaction=True)
def test_what_ingest_changes_is_served_at_once(client):
    market.open_market()
    before = client.get("/api/v1/odds?sport=soccer_epl&bookmakers=bet365").json()

    market.send(market.quote(0, "bet365", "Arsenal", "2.75", last_update=market.now()))

    after = client.get("/api/v1/odds?sport=soccer_epl&bookmakers=bet365").json()
    assert before[0]["bookmakers"][0]["markets"][0]["outcomes"][0]["price"] == 2.5
    assert after[0]["bookmakers"][0]["markets"][0]["outcomes"][0]["price"] == 2.75


def test_the_families_of_prices_never_serve_beyond_a_minute():
    for family in (families.odds, families.event, families.arbitrage, families.board_page):
        assert family.policy.kept_s <= 60
