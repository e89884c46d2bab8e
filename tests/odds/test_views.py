"""The visitor's pages: complete without a script, kept by anyone, wrong links explained."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.shortcuts import render
from django.test import RequestFactory

from odds import families
from odds.models import Opportunity
from performance.caching.services import cache, wsgi_cache
from performance.core import signals

from . import market

pytestmark = pytest.mark.django_db

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """The text of every element by its path of tags, and whether each tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.mistakes: list[str] = []
        self.feed(html)
        self.mistakes += self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"/{tag}")

    def all(self, tag, **wanted):
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


def read(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, answer.content[:400]
    return Page(answer.content.decode()), answer.content.decode(), answer


PAGES = [
    "/",
    "/?sport=soccer_epl&market=totals",
    "/events/{0}/",
    "/arbitrage/",
    "/arbitrage/?id={1}",
]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_whole_html_without_inline_script_style_or_cookie(client, path):
    market.open_market()
    market.open_arbitrage()
    path = path.format(market.key(0), Opportunity.objects.get().pk)

    page, text, answer = read(client, path)
    assert page.mistakes == []
    assert not answer.cookies
    assert "csrf" not in text
    assert all("src" in one for one in page.all("script"))
    assert not page.all("style")
    assert not [one for _, one in page.elements if "style" in one or "onclick" in one]
    assert "18+" in text
    assert not re.search(r"guaranteed|risk-free|sure ?bet", text, re.IGNORECASE)
    assert "/admin" not in text


def test_the_board_shows_every_price_and_marks_the_best_by_sign_and_weight(client):
    market.open_market()

    page, text, _ = read(client, "/")
    assert "EPL" in text
    assert len(page.all("tbody")) == 3
    best = [one for one in page.all("td") if "best" in (one.get("class") or "").split()]
    assert len(best) == 9
    assert text.count("<b>2.60</b>") == 3
    assert "★" in text
    assert page.all("a", href=f"/events/{market.key(0)}/")


def test_a_suspended_price_is_not_shown(client):
    market.open_market(1)
    market.send(withdrawn=[market.quote(0, "pinnacle", "Arsenal", "2.60")])

    _, text, _ = read(client, "/")
    assert "2.60" not in text
    assert text.count(">susp.</td>") == 1


def test_filters_are_in_the_address_and_hold(client):
    market.open_market()

    page, text, _ = read(client, "/?sport=soccer_epl&bookmakers=bet365&bookmakers=unibet")
    assert {one["data-book"] for one in page.all("td") if "data-book" in one} == {
        "bet365",
        "unibet",
    }
    assert {one["value"] for one in page.all("input") if "checked" in one} == {"bet365", "unibet"}
    tab = "/?sport=soccer_epl&amp;bookmakers=bet365&amp;bookmakers=unibet&amp;market=totals"
    assert tab in text


def test_names_are_escaped(client):
    evil = market.event(0, home_team="<script>alert(1)</script>")
    price = market.quote(0, "bet365", "<script>alert(1)</script>", "2.0")
    market.send(price, events=[evil])

    for path in ("/", f"/events/{market.key(0)}/"):
        assert "<script>alert" not in client.get(path).content.decode()


def test_the_event_page_has_all_markets_a_fair_column_and_a_drawn_history(client):
    market.open_market()
    market.send(market.quote(0, "bet365", "Arsenal", "2.55", last_update=market.now()))

    page, text, _ = read(client, f"/events/{market.key(0)}/")
    assert "Fair" in text
    assert [one["href"] for one in page.all("a") if "?market=" in (one.get("href") or "")]
    assert page.all("svg", role="img")
    assert len([one for one in page.all("path") if "line" in one["class"]]) >= 3


@pytest.mark.parametrize("kind", ["spreads", "totals"])
def test_each_line_of_a_market_stands_apart(client, kind):
    market.open_market()

    page, _, _ = read(client, f"/events/{market.key(0)}/?market={kind}")
    assert len(page.all("tbody", **{"data-market": kind})) == {"spreads": 1, "totals": 2}[kind]


def test_without_any_odds_the_home_page_says_so(client):
    _, text, _ = read(client, "/")

    assert "No sport has odds yet" in text


def test_a_market_without_prices_says_so(client):
    market.send(*market.book(0, "bet365", "2", "3", "4"))

    _, text, _ = read(client, "/?sport=soccer_epl&market=totals")
    assert "No totals prices here now" in text


WRONG = {
    "/?sport=soccer_elp": (404, "Did you mean soccer_epl?"),
    "/?sprot=soccer_epl": (400, "Did you mean &#x27;sport&#x27;?"),
    "/?market=corners": (400, "outrights"),
    "/?page=0": (400, "a number from 1 to 1000"),
    "/?bookmakers=%3Cscript%3E": (400, "separated by commas"),
    "/events/nothing/": (404, "There is no event"),
    "/arbitrage/?bankroll=-5": (400, "an amount from 0.10"),
    "/arbitrage/?min_roi=lots": (400, "percent from 0 to 100"),
    "/arbitrage/?suspect=maybe": (400, "show, hide"),
}


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_link_gets_a_page_that_says_what_is_wrong(client, path):
    market.open_market(1)
    status, words = WRONG[path]

    page, text, answer = read(client, path, status)
    assert words in text
    assert "<script>" not in text
    assert page.mistakes == []
    assert answer["Cache-Control"] == "no-store"


def test_a_form_sent_with_empty_fields_is_no_mistake(client):
    market.open_market(1)

    read(client, "/arbitrage/?bankroll=100&sport=&min_roi=&suspect=")


def test_prices_that_cannot_be_read_are_a_503_and_never_old(client, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("the database is away")

    market.open_market(1)
    monkeypatch.setattr("odds.boards.board", broken)

    _, text, answer = read(client, "/?sport=soccer_epl", 503)
    assert answer["Retry-After"] == "5"
    assert "nothing than an old price" in text


def amounts(page_text: str, name: str) -> list[Decimal]:
    return [
        Decimal(found.replace(",", ""))
        for found in re.findall(rf"data-{name}>(-?[\d,.]+)<", page_text)
    ]


@pytest.mark.parametrize("edge", ["", "https://edge.example"])
@pytest.mark.parametrize("code", [400, 403, 404, 500, 503])
def test_a_page_of_an_error_is_drawn_where_static_files_were_never_built(
    code, edge, settings, tmp_path
):
    settings.STATIC_ROOT = tmp_path
    hashed = {"BACKEND": "performance.cdn.storage.HashedStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": hashed}
    settings.PERFORMANCE = {**settings.PERFORMANCE, "CDN": {"base_url": edge}}

    page = Page(render(None, f"{code}.html").content.decode())

    assert page.mistakes == []
    assert page.all("link", rel="stylesheet") == [
        {"rel": "stylesheet", "href": "/static/odds/css/site.css"}
    ]
    assert page.all("a", href="/")
    with pytest.raises(ValueError, match="Missing staticfiles manifest entry"):
        render(None, "odds/base.html")  # a page of ours is not drawn without its style


@pytest.mark.parametrize("bankroll", ["100", "99.95", "1000000", "7.77"])
def test_the_calculators_stakes_add_up_and_every_outcome_pays_the_promise(client, bankroll):
    market.open_market()
    market.open_arbitrage()
    one = Opportunity.objects.get()

    _, text, answer = read(client, f"/arbitrage/?id={one.pk}&bankroll={bankroll}")
    stakes, pays = amounts(text, "stake"), amounts(text, "pays")
    (staked,), (least,) = amounts(text, "staked"), amounts(text, "least")
    assert sum(stakes) == staked <= Decimal(bankroll)
    assert all(one - staked >= least > 0 for one in pays)
    assert "private" in answer["Cache-Control"]


def test_an_amount_that_rounding_eats_is_said_so(client):
    market.open_market()
    market.open_arbitrage()

    _, text, _ = read(client, f"/arbitrage/?id={Opportunity.objects.get().pk}&bankroll=0.10")
    assert "rounding the stakes to cents leaves no profit" in text


def test_an_opportunity_that_is_over_is_said_to_be(client):
    _, text, _ = read(client, "/arbitrage/?id=12345")

    assert "not open any more" in text


def test_a_doubtful_one_stands_apart_with_its_reason(client):
    market.open_market()
    market.send(market.quote(0, "unibet", "Arsenal", "9.00", last_update=market.now()))

    _, text, _ = read(client, "/arbitrage/")
    assert "▲ Doubtful" in text
    assert "times the median" in text
    assert text.index("doubtful-title") < text.index("times the median")
    _, hidden, _ = read(client, "/arbitrage/?suspect=hide")
    assert "times the median" not in hidden


def test_the_age_of_the_prices_is_reported_as_they_leave(client, monkeypatch):
    told = []

    class Recorder:
        def observe(self, kind, key, seconds, ok=True):
            if kind == "price_age":
                told.append((key, seconds))

        def count(self, kind, key, amount=1):
            pass

        gauge = count

    market.open_market()
    monkeypatch.setattr(signals, "recorder", Recorder())
    client.get("/")
    client.get("/api/v1/odds?sport=soccer_epl")

    assert [key for key, _ in told] == ["board_page", "odds"]
    assert all(9 <= seconds <= 60 for _, seconds in told)


@pytest.mark.django_db(transaction=True)
def test_a_page_is_a_hit_and_shows_a_new_price_at_once(client):
    market.open_market()
    client.get("/?sport=soccer_epl")
    hit = client.get("/?sport=soccer_epl")
    market.send(market.quote(0, "bet365", "Arsenal", "2.75", last_update=market.now()))

    after = client.get("/?sport=soccer_epl")
    assert "hit" in hit["Cache-Status"]
    assert b"2.75" not in hit.content
    assert b"<b>2.75</b>" in after.content


@pytest.mark.django_db(transaction=True)
def test_the_front_page_shows_a_new_price_of_its_sport_at_once(client):
    market.open_market()
    client.get("/")
    hit = client.get("/")
    assert families.board_page.tags_of(("", "h2h", (), 1))[1:] == ("sport:soccer_epl",)
    market.send(market.quote(0, "bet365", "Arsenal", "2.75", last_update=market.now()))

    after = client.get("/")
    assert "hit" in hit["Cache-Status"]
    assert b"2.75" not in hit.content
    assert b"<b>2.75</b>" in after.content


@pytest.mark.django_db(transaction=True)
def test_the_front_page_follows_when_another_sport_becomes_the_busiest(client):
    market.open_market(2)
    assert b"soccer_epl" in client.get("/").content
    other = {"sport_key": "basketball_nba", "sport_title": "NBA"}
    events = [market.event(number, **other) for number in range(10, 15)]
    quotes = [market.quote(number, "bet365", "Arsenal", "7.77") for number in range(10, 15)]
    market.send(*quotes, events=events)
    cache.purge("sports", "front_sport")  # each is known for some seconds

    assert families.board_page.tags_of(("", "h2h", (), 1))[1:] == ("sport:basketball_nba",)
    assert b"7.77" in client.get("/").content


@pytest.mark.django_db(transaction=True)
def test_a_stored_page_is_given_before_django(client):
    market.open_market()
    reached = []
    django = WSGIHandler()

    def counted(environ, start_response):
        reached.append(environ["PATH_INFO"])
        return django(environ, start_response)

    application = wsgi_cache(counted)

    def get(path, query=""):
        environ = RequestFactory().get(path, QUERY_STRING=query).environ
        told = {}
        body = b"".join(
            application(environ, lambda status, headers, *rest: told.update(status=status))
        )
        return told["status"], body

    for _ in range(2):
        get("/")
    assert get("/")[0] == "200 OK"
    assert reached == ["/"]
    assert get("/", "page=0")[0].startswith("400")


def test_the_busiest_boards_are_warmed(django_assert_max_num_queries):
    market.open_market()

    assert list(families.board_page.warm()) == [
        ("", "h2h", (), 1),
        ("soccer_epl", "h2h", (), 1),
    ]


@pytest.mark.parametrize("events", [1, 30])
def test_a_page_costs_the_same_queries_whatever_it_holds(client, events, django_assert_num_queries):
    market.open_market(events)

    with django_assert_num_queries(4):  # sports, board, its events in all, bookmakers
        client.get("/?sport=soccer_epl")
    with django_assert_num_queries(4):  # event, history of today and before, bookmakers
        client.get(f"/events/{market.key(0)}/")
