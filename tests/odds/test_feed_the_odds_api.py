"""The Odds API against a local server that answers as was recorded, errors and worse included."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from odds.conf import OddsConf
from odds.errors import FeedMisconfigured, FeedRefused, FeedUnavailable
from odds.feeds import quota
from odds.feeds.runner import Runner
from odds.feeds.the_odds_api import TheOddsApiSource
from odds.models import Price, RefusedQuote

pytestmark = pytest.mark.timed

KEY = "s3cr3t-0123456789abcdef"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Provider:
    """The provider on a free port: `answers` are given one after the other, the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                provider.asked.append((url.path, parse_qs(url.query)))
                answer = provider.answers[0]
                if len(provider.answers) > 1:
                    provider.answers.pop(0)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    answer(self)

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v4"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def provider():
    one = Provider()
    yield one
    one.close()


def sends(
    body: bytes | str | object,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    length: int | None = None,
):
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def drips(handler: BaseHTTPRequestHandler) -> None:
    """A byte every 50 ms, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    stop = threading.Event()
    while not stop.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def odds(*prices: float, key: str = "c" * 32, at: datetime = NOW) -> list[dict]:
    outcomes = [
        {"name": name, "price": price}
        for name, price in zip(("Arsenal", "Everton", "Draw"), prices, strict=False)
    ]
    return [
        {
            "id": key,
            "sport_key": "soccer_epl",
            "sport_title": "EPL",
            "commence_time": (NOW + timedelta(hours=5)).isoformat(),
            "home_team": "Arsenal",
            "away_team": "Everton",
            "bookmakers": [
                {
                    "key": "unibet",
                    "title": "Unibet",
                    "last_update": at.isoformat(),
                    "markets": [{"key": "h2h", "outcomes": outcomes}],
                }
            ],
        }
    ]


def source(provider: Provider, **options) -> TheOddsApiSource:
    conf = {"base_url": provider.url, "timeout_s": 20.0, "min_interval_s": 60.0}
    conf |= {name: options.pop(name) for name in list(options) if name in OddsConf.__slots__}
    given = {"sports": ["soccer_epl"], "clock": lambda: NOW} | options
    return TheOddsApiSource(key=KEY, options=OddsConf(**conf), **given)


def first(one: TheOddsApiSource, cursor=None):
    return next(one.batches(cursor, lambda seconds: True))


# --- asking -----------------------------------------------------------------------------------


def test_it_asks_for_decimal_odds_of_the_regions_and_markets_and_takes_the_answer(provider):
    provider.answers = [sends(odds(2.1, 3.3), headers={"x-requests-remaining": "487"})]

    batch = first(source(provider))

    path, query = provider.asked[0]
    assert path == "/v4/sports/soccer_epl/odds"
    assert query["regions"] == ["eu,uk"]
    assert query["oddsFormat"] == ["decimal"]
    assert query["apiKey"] == [KEY]
    assert [quote.price for quote in batch.quotes] == [Decimal("2.1"), Decimal("3.3")]
    assert batch.cursor == {"asked": {"soccer_epl": NOW.isoformat()}, "remaining": 487}


def test_a_gzipped_answer_is_unpacked(provider):
    body = gzip.compress(json.dumps(odds(2.1)).encode())
    provider.answers = [sends(body, headers={"Content-Encoding": "gzip"})]

    assert len(first(source(provider)).quotes) == 1


def test_a_price_that_is_gone_is_withdrawn(provider):
    provider.answers = [sends(odds(2.1, 3.3)), sends(odds(2.1))]
    now = [NOW]
    one = source(provider, clock=lambda: now[0])

    def wait(seconds: float) -> bool:
        now[0] += timedelta(seconds=seconds)
        return False

    batches = one.batches(None, wait)
    next(batches)

    assert [quote.outcome for quote in next(batches).withdrawn] == ["Everton"]


def test_once_asks_each_sport_once(provider):
    provider.answers = [sends(odds(2.1))]
    one = source(provider, sports=["soccer_epl", "soccer_italy_serie_a"], once=True)

    assert len(list(one.batches(None, lambda seconds: False))) == 2


def test_a_feed_that_is_restarted_does_not_ask_again_before_it_is_due(provider):
    provider.answers = [sends(odds(2.1))]
    slept = []
    cursor = {"asked": {"soccer_epl": (NOW - timedelta(seconds=100)).isoformat()}, "remaining": 400}

    list(source(provider).batches(cursor, lambda seconds: bool(slept.append(seconds)) or True))

    assert provider.asked == []
    assert slept[0] > 1000  # 400 credits, six a call, for the week that is left


# --- the month's credits ----------------------------------------------------------------------


def spread(remaining: int | None, **changes) -> float | None:
    given = {
        "a_call": 3,
        "sports": 2,
        "reserve": 20,
        "now": datetime(2026, 11, 30, tzinfo=UTC),
        "least_s": 60.0,
        "most_s": 21_600.0,
    }
    return quota.interval_s(remaining, **(given | changes))


def test_credits_are_spread_over_the_rest_of_the_month():
    # 300 credits above the reserve are 100 calls in a day: 864 s each, for two sports 1,728.
    assert spread(320) == 1728.0


def test_many_credits_ask_no_more_often_than_the_provider_refreshes():
    assert spread(10_000_000) == 60.0


def test_few_credits_still_ask_now_and_then():
    assert spread(24) == 21_600.0


def test_credits_for_less_than_a_call_are_none():
    assert spread(22) is None


def test_before_the_provider_has_said_what_is_left_it_is_asked():
    assert spread(None) == 60.0


def test_out_of_credits_rests_until_they_are_counted_anew_and_then_asks_again(provider):
    body = {"message": "Usage quota has been reached.", "error_code": "OUT_OF_USAGE_CREDITS"}
    provider.answers = [sends(body, status=401), sends(odds(2.1))]
    now, slept = [datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)], []

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        now[0] += timedelta(seconds=seconds)
        return False

    batch = next(source(provider, clock=lambda: now[0]).batches(None, wait))

    assert slept[0] == 10.0
    assert len(batch.quotes) == 1


# --- what the provider says of errors -----------------------------------------------------------


def code(name: str, status: int) -> Callable:
    return sends({"message": f"about {name}", "error_code": name}, status=status)


@pytest.mark.parametrize("name", ["INVALID_KEY", "MISSING_KEY", "DEACTIVATED_KEY"])
@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_bad_key_is_for_a_person_whatever_the_status(provider, name, status):
    provider.answers = [code(name, status)]

    with pytest.raises(FeedMisconfigured, match="THE_ODDS_API_KEY"):
        first(source(provider))


@pytest.mark.parametrize("name", ["INVALID_MARKET", "MISSING_REGION", "INVALID_MARKET_COMBO"])
def test_a_bad_question_is_for_a_person_and_names_the_settings(provider, name):
    provider.answers = [code(name, 422)]

    with pytest.raises(FeedMisconfigured, match=rf"about {name}.*regions, markets"):
        first(source(provider))


def test_an_unknown_sport_is_left_out_and_the_others_go_on(provider):
    provider.answers = [code("UNKNOWN_SPORT", 404), sends(odds(2.1))]

    batch = first(source(provider, sports=["soccer_mars", "soccer_epl"]))

    assert len(batch.quotes) == 1


def test_nothing_but_unknown_sports_is_for_a_person(provider):
    provider.answers = [code("UNKNOWN_SPORT", 404)]

    with pytest.raises(FeedMisconfigured, match="soccer_mars"):
        first(source(provider, sports=["soccer_mars"]))


def test_too_many_calls_wait_as_long_as_the_provider_asks(provider):
    provider.answers = [
        sends({"error_code": "EXCEEDED_FREQ_LIMIT"}, status=429, headers={"Retry-After": "7"})
    ]

    with pytest.raises(FeedUnavailable) as refused:
        first(source(provider))
    assert refused.value.retry_after_s == 7


def test_too_many_calls_without_a_time_wait_two_seconds(provider):
    provider.answers = [sends("slow down", status=429)]

    with pytest.raises(FeedUnavailable) as refused:
        first(source(provider))
    assert refused.value.retry_after_s == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again(provider, status):
    provider.answers = [sends("<html>oops</html>", status=status)]

    with pytest.raises(FeedUnavailable, match=str(status)):
        first(source(provider))


@pytest.mark.samples
def test_every_recorded_error_is_understood(provider, samples):
    recorded = json.loads((samples / "odds_api_v4/errors/error_bodies.json").read_text())["seen"]
    for one in recorded:
        provider.answers = [sends(one["body"], status=one["http_status"])]
        with pytest.raises((FeedMisconfigured, FeedUnavailable)):
            next(source(provider, once=True).batches(None, lambda seconds: True))
    assert len(recorded) >= 9


# --- what no provider should send ---------------------------------------------------------------

WRONG = {
    "HTML with 200": sends("<!doctype html><title>Just a moment...</title>"),
    "half JSON": sends(json.dumps(odds(2.1))[:200]),
    "nothing": sends(""),
    "a number": sends("42"),
    "null": sends("null"),
    "an object": sends({"hello": "world"}),
    "a list of numbers": sends([1, 2, 3]),
    "sports": sends([{"key": "soccer_epl", "group": "Soccer", "has_outrights": False}]),
    "no gzip": sends("plainly not", headers={"Content-Encoding": "gzip"}),
    "half gzip": sends(
        gzip.compress(json.dumps(odds(2.1)).encode())[:-20], headers={"Content-Encoding": "gzip"}
    ),
    "nested for ever": sends("[" * 100_000),
    "404 without a code": sends("not here", status=404),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_odds_is_refused_whole(provider, answer):
    provider.answers = [answer]

    with pytest.raises(FeedRefused):
        first(source(provider))


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(provider):
    bomb = gzip.compress(b"[" + b" " * 50_000_000)
    provider.answers = [sends(bomb, headers={"Content-Encoding": "gzip"})]

    with pytest.raises(FeedRefused, match="larger than 100000 bytes"):
        first(source(provider, max_response_bytes=100_000))


def test_a_byte_at_a_time_ends_at_the_deadline(provider):
    provider.answers = [drips]

    with pytest.raises(FeedUnavailable, match=r"not complete after 0\.3 s"):
        first(source(provider, timeout_s=0.3))


def test_an_answer_that_breaks_off_is_tried_again(provider):
    provider.answers = [sends("[{", length=5000)]

    with pytest.raises(FeedUnavailable):
        first(source(provider))


def test_a_server_that_is_not_there_is_tried_again(provider):
    provider.close()

    with pytest.raises(FeedUnavailable):
        first(source(provider))


def test_a_redirect_is_not_followed_with_the_key(provider):
    provider.answers = [sends("", status=302, headers={"Location": "http://elsewhere.example/"})]

    with pytest.raises(FeedRefused, match="302"):
        first(source(provider))
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        sends({"message": f"bad key {KEY}", "error_code": "INVALID_KEY"}, status=401),
        sends(f"<html>{KEY}</html>"),
        sends(f"{KEY}", status=500),
        drips,
    ],
)
def test_the_key_is_in_no_error_and_no_log(provider, answer, caplog):
    provider.answers = [answer]
    caplog.set_level(logging.DEBUG, logger="odds")

    with pytest.raises((FeedMisconfigured, FeedRefused, FeedUnavailable)) as raised:
        first(source(provider, timeout_s=0.3))

    error = raised.value
    chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
    assert KEY not in repr([(repr(one), str(one), getattr(one, "args", "")) for one in chain])
    assert KEY not in caplog.text


def test_without_a_key_it_says_what_to_set():
    with pytest.raises(FeedMisconfigured, match="THE_ODDS_API_KEY"):
        TheOddsApiSource(key="", options=OddsConf())


def test_a_plain_address_is_taken_on_loopback_only():
    with pytest.raises(ImproperlyConfigured, match="in the clear"):
        OddsConf(base_url="http://api.the-odds-api.com/v4")


# --- into the database --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_bad_answers_are_kept_apart_and_the_next_good_one_is_stored(provider, monkeypatch):
    monkeypatch.setattr("odds.feeds.runner.FIRST_DELAY_S", 0.01)
    provider.answers = [
        sends("<html>maintenance</html>"),
        sends("gone", status=503),
        sends(json.dumps(odds(2.1))[:300]),
        sends(odds(2.1, 3.3)),
    ]

    runner = Runner(source(provider, once=True), stop=threading.Event(), most=1)
    runner.run()

    assert Price.objects.count() == 2
    kept = RefusedQuote.objects.get()
    assert (kept.times, kept.source) == (2, "the-odds-api")


@pytest.mark.django_db(transaction=True)
def test_bad_cells_are_kept_apart_and_the_good_ones_stored(provider):
    provider.answers = [sends(odds(2.1, 0.5, "x"))]

    Runner(source(provider, once=True), stop=threading.Event(), most=1).run()

    assert Price.objects.count() == 1
    assert RefusedQuote.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.samples
def test_recorded_answers_are_stored(provider, samples):
    folder = samples / "odds_api_v4/odds"
    provider.answers = [sends((folder / "11nov21_EdgeBet__data_nba.json").read_bytes())]

    runner = Runner(source(provider, once=True), stop=threading.Event(), most=1)
    runner.run()

    assert runner.totals.received > 100
    assert Price.objects.count() == runner.totals.changed
