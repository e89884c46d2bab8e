"""What a process holds of events is never outdated, bounded, and spares reading it again."""

import json
import random
from datetime import timedelta

import msgspec
import pytest
from django.db import transaction

from odds import answers, boards, compared
from odds.held import Held, Kept, Known
from odds.models import Bookmaker, Calendar, Event, Price, Sheet, Sport
from odds.quotes import DRAW

from . import market

EVENTS = 6


def known(*numbers):
    return Known(b"", {number: Kept(1, "part") for number in numbers})


def test_beyond_its_bound_what_was_asked_least_recently_goes():
    held = Held(10)
    for name in "abc":
        held.keep(name, known(1), weight=4)
    assert [bool(held.get(name).events) for name in "abc"] == [False, True, True]

    held.get("b")
    held.keep("d", known(1), weight=4)
    assert [bool(held.get(name).events) for name in "bcd"] == [True, False, True]
    assert held.weight == 8


def test_an_answer_is_replaced_whole_and_what_is_too_large_is_not_kept():
    held = Held(10)
    held.keep("a", known(1, 2), weight=8)
    held.keep("a", known(3), weight=2)
    assert (list(held.get("a").events), held.weight) == ([3], 2)

    held.keep("b", known(1), weight=11)
    assert (held.get("b").events, held.weight) == ({}, 0)


def test_answers_without_events_take_no_room():
    held = Held(10)
    for number in range(1_000):
        held.keep(number, Known(b"", {}), weight=0)

    assert len(held._answers) == 0


def answers_now():
    """All that readers give, without their clock."""
    first = market.key(0)
    board = msgspec.structs.replace(boards.board("soccer_epl", market="h2h"), as_of=0)
    totals = msgspec.structs.replace(boards.board("soccer_epl", market="totals"), as_of=0)
    return [
        json.loads(boards.sports()),
        msgspec.to_builtins(board),
        msgspec.to_builtins(totals),
        msgspec.to_builtins(msgspec.structs.replace(boards.event(first), as_of=0)),
        json.loads(answers.odds("soccer_epl", markets=["h2h", "totals", "spreads"])),
        json.loads(answers.odds("soccer_epl", odds_format="american", date_format="unix")),
        json.loads(answers.odds("soccer_epl", bookmakers=["bet365"], limit=2, after=first)),
        json.loads(answers.odds(answers.UPCOMING)),
        json.loads(answers.event_odds(first)),
    ]


def forget():
    compared.held.clear()
    answers.held.clear()


class Steps:
    """Whatever may change what is shown, at random."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def quote(self, bookmaker):
        number = self.chance.randrange(EVENTS)
        names = (*market.TEAMS[number % len(market.TEAMS)], DRAW)
        price = f"{1.5 + self.chance.random() * 3:.2f}"
        if self.chance.random() < 0.3:
            first, _ = market.line(number, bookmaker, "totals", "2.5", price, "1.9")
            return msgspec.structs.replace(first, last_update=market.now())
        outcome = self.chance.choice(names)
        return market.quote(number, bookmaker, outcome, price, last_update=market.now())

    def take(self):
        getattr(self, self.chance.choice(["move", "move", "confirm", "suspend", "put_off",
                                          "rename", "switch", "retitle"]))()  # fmt: skip

    def send(self, *quotes, **given):
        events = [market.event(number) for number in range(EVENTS)]
        market.send(*quotes, events=given.pop("events", events), **given)

    def move(self):
        self.send(self.quote("pinnacle"), self.quote("betfair_ex_eu"))

    def confirm(self):
        price = self.chance.choice(list(Price.objects.select_related("event", "bookmaker")))
        same = market.quote(
            0, price.bookmaker.key, price.outcome, str(price.price), market=price.market,
            point=price.point, event_key=price.event.key, last_update=market.now(),
        )  # fmt: skip
        self.send(same, events=[])

    def suspend(self):
        self.send(withdrawn=[self.quote("bet365")])

    def put_off(self):
        number = self.chance.randrange(EVENTS)
        self.send(events=[market.event(number, hours=20 * self.chance.random() - 2)])

    def rename(self):
        number = self.chance.randrange(EVENTS)
        self.send(events=[market.event(number, home_team=f"Home {self.chance.random():.3f}")])

    def switch(self):
        one = Bookmaker.objects.get(key="unibet")
        Bookmaker.objects.filter(pk=one.pk).update(active=not one.active)

    def retitle(self):
        title = f"Title {self.chance.random():.3f}"
        self.chance.choice([Sport, Bookmaker]).objects.update(title=title)


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(2))
def test_read_with_what_is_held_everything_is_as_if_it_were_read_anew(seed):
    market.open_market(EVENTS)
    steps = Steps(seed)
    for _ in range(16):
        answers_now()
        steps.take()
        with_held = answers_now()
        forget()
        read_anew = answers_now()
        assert with_held == read_anew

        with transaction.atomic():
            Sheet.objects.all().delete()  # then all is read from the prices themselves
            Calendar.objects.all().delete()
            forget()
            assert read_anew == answers_now()
            transaction.set_rollback(True)
        forget()


@pytest.mark.django_db
def test_after_a_move_its_event_alone_is_read(monkeypatch):
    market.open_market(EVENTS)
    boards.board("soccer_epl", market="h2h")
    read = []
    compare = compared._compare
    monkeypatch.setattr(
        compared, "_compare", lambda one, *rest: read.append(one.id) or compare(one, *rest)
    )
    boards.board("soccer_epl", market="h2h")
    assert read == []

    market.send(market.quote(2, "pinnacle", "Leeds", "2.22", last_update=market.now()), events=[])
    boards.board("soccer_epl", market="h2h")
    assert read == [market.key(2)]


@pytest.mark.django_db
def test_a_batch_raises_the_revision_of_its_events_alone_and_each_time():
    market.open_market(3)
    before = dict(Event.objects.values_list("key", "revision"))
    quote = market.quote(1, "pinnacle", "Chelsea", "2.75", last_update=market.now())
    for _ in range(2):  # the second only confirms: a board says when, too
        market.send(quote, events=[])
        after = dict(Event.objects.values_list("key", "revision"))
        raised = {key for key in after if after[key] > before[key]}
        assert raised == {market.key(1)}
        before = after


@pytest.mark.django_db
def test_an_event_names_the_markets_in_which_it_has_prices():
    market.open_market(2)
    market.send(*market.line(0, "bet365", "totals_h1", "0.5", "1.4", "2.8"), events=[])

    for event in Event.objects.all():
        priced = Price.objects.filter(event=event).values_list("market", flat=True).distinct()
        assert event.markets == sorted(priced)
    assert "totals_h1" in Event.objects.get(key=market.key(0)).markets


@pytest.mark.django_db
def test_more_events_than_one_statement_reads_are_all_in_the_answer(monkeypatch):
    monkeypatch.setattr(answers, "_PARTS", (2, 2, answers.MAX_EVENTS))
    market.open_market(EVENTS)  # two statements of two events, then all of them

    found = json.loads(answers.odds("soccer_epl"))
    assert [one["id"] for one in found] == [market.key(number) for number in range(EVENTS)]


@pytest.mark.django_db
def test_pages_of_the_api_join_without_gap_and_end_with_less_than_a_page():
    market.open_market(7)
    market.send(events=[market.event(99, hours=2.5)])  # without a price: on no page
    whole = json.loads(answers.odds("soccer_epl"))
    pages, after = [], None
    while not pages or len(pages[-1]) == 3:
        pages.append(json.loads(answers.odds("soccer_epl", limit=3, after=after)))
        after = pages[-1][-1]["id"]

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == whole


@pytest.mark.django_db
def test_upcoming_has_at_most_a_hundred_events_and_the_next_eight_among_them(monkeypatch):
    monkeypatch.setattr(answers, "_UPCOMING", answers._UPCOMING.replace("LIMIT 92", "LIMIT 3"))
    now = market.now()
    begun = [market.event(n, commence_time=now - timedelta(minutes=n + 1)) for n in range(5)]
    coming = [market.event(n) for n in range(5, 15)]
    quotes = [
        quote for number in range(15) for quote in market.book(number, "bet365", "2", "3", "4")
    ]
    market.send(*quotes, events=[*begun, *coming])

    found = [one["id"] for one in json.loads(answers.odds(answers.UPCOMING))]
    assert found == [market.key(number) for number in (2, 1, 0, *range(5, 13))]


@pytest.mark.django_db
def test_after_an_id_that_is_not_there_is_refused_with_those_that_begin_alike(client):
    market.open_market(2)
    wrong = market.key(0)[:12] + "0" * 20
    answer = client.get(f"/api/v1/odds?sport=soccer_epl&after={wrong}")

    assert answer.status_code == 404
    assert answer.json()["error"]["field"] == "after"
    assert answer.json()["error"]["allowed"] == [market.key(0)]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "after=x", "after=%00"])
def test_wrong_pages_are_refused_in_words(client, query):
    answer = client.get(f"/api/v1/odds?sport=soccer_epl&{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == query.partition("=")[0]
