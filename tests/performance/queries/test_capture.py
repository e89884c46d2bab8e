import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from psycopg import sql

from performance.core import asked, context, signals
from performance.queries import capture, middleware


class Recorded:
    def __init__(self):
        self.seen = []

    def observe(self, kind, key, seconds, ok=True):
        self.seen.append((kind, key, ok))

    def count(self, kind, key, amount=1):
        pass

    def gauge(self, kind, key, value):
        pass


@pytest.fixture
def recorded(monkeypatch):
    recorder = Recorded()
    monkeypatch.setattr(signals, "recorder", recorder)
    return recorder


def ask(times, seconds=0.0):
    with connection.cursor() as cursor:
        for number in range(times):
            cursor.execute("SELECT pg_sleep(%s), %s", [seconds, number])


def served(view):
    return middleware.count_queries(view)(HttpRequest())


def test_each_statement_is_reported_under_its_route(db, recorded):
    token = context.route.set("events/<str:key>/")
    ask(2)
    context.route.reset(token)

    assert recorded.seen == [("sql", "events/<str:key>/", True)] * 2


def test_a_failed_statement_is_reported_as_failed(db, recorded):
    with pytest.raises(Exception, match="no_such_table"), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")

    assert [ok for kind, key, ok in recorded.seen] == [False]


def test_the_server_sees_the_route_and_no_comment_can_be_closed_from_within(db):
    token = context.route.set("x*/; DROP TABLE odds_price; --")
    with connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        query = cursor.fetchone()[0]
    context.route.reset(token)

    assert query.endswith("/* route='x_/__DROP_TABLE_odds_price__--' */")


def test_an_n_plus_one_is_found_with_its_line(db):
    served(lambda request: ask(10, seconds=0.003))

    (found,) = capture.findings(capture.FINDINGS_KEY)
    assert found["count"] == 10
    assert "test_capture.py" in found["line"]
    assert "in ask" in found["line"]


def test_of_a_statement_of_a_megabyte_a_finding_keeps_the_beginning_without_values(db, settings):
    settings.PERFORMANCE = {"QUERIES": {"slow_query_ms": 0.0}}
    many = " + ".join(f"length('secret {number}')" for number in range(40_000))
    with connection.cursor() as cursor, pytest.raises(Exception, match="stack depth"):
        cursor.execute(f"SELECT {many}")

    (found,) = capture.findings(capture.SLOW_KEY)
    assert len(found["sql"]) == capture.LONGEST_KEPT
    assert "secret" not in found["sql"]


def test_nine_of_the_same_are_no_n_plus_one(db):
    served(lambda request: ask(9, seconds=0.003))

    assert capture.findings(capture.FINDINGS_KEY) == []


def test_ten_quick_ones_are_no_n_plus_one(db, settings):
    settings.PERFORMANCE = {"QUERIES": {"n_plus_one_ms": 60_000}}
    served(lambda request: ask(10))

    assert capture.findings(capture.FINDINGS_KEY) == []


async def test_two_requests_at_once_keep_accounts_of_their_own():
    async def view(request):
        return capture.asked.get()

    handler = middleware.count_queries(view)
    assert await handler(HttpRequest()) is not await handler(HttpRequest())


def test_the_account_is_closed_when_the_view_fails(db):
    def view(request):
        raise ValueError("the view's own")

    with pytest.raises(ValueError, match="the view's own"):
        served(view)

    assert capture.asked.get() is None


def test_who_keeps_a_request_finds_its_costliest_shapes_on_it_and_no_value():
    request = HttpRequest()

    def view(request):
        mine = capture.asked.get()
        mine.add("SELECT a FROM t WHERE id = 7", 0.002)
        mine.add("SELECT a FROM t WHERE id = 8", 0.003)
        mine.add("SELECT b FROM t", 0.1)

    middleware.count_queries(view)(request)
    found = asked.of(request).costliest(5)

    assert [(one.sql, one.times) for one in found] == [
        ("SELECT b FROM t", 1),
        ("SELECT a FROM t WHERE id = ?", 2),
    ]
    assert found[1].seconds == pytest.approx(0.005)
    assert len(asked.of(request).costliest(1)) == 1
    assert asked.of(HttpRequest()) is None


def test_composed_sql_and_bytes_are_asked_and_counted_like_text(db, recorded):
    composed = sql.SQL("SELECT {}::int AS {}").format(sql.Placeholder(), sql.Identifier('a"b'))

    def view(request):
        with connection.cursor() as cursor:
            cursor.execute(composed, [7])
            assert cursor.fetchone() == (7,)
            cursor.execute(b"SELECT %s::int", [8])
            assert cursor.fetchone() == (8,)
        return list(capture.asked.get().statements)

    assert served(view) == ['SELECT %s::int AS "a""b"', "SELECT %s::int"]
    assert recorded.seen == [("sql", settings.PROCESS, True)] * 2


def test_an_option_that_changes_is_heard_though_routes_are_remembered(db, settings):
    settings.PERFORMANCE = {"QUERIES": {"slow_query_ms": 60_000.0}}
    ask(1)
    assert capture.findings(capture.SLOW_KEY) == []

    settings.PERFORMANCE = {"QUERIES": {"slow_query_ms": 0.0}}
    ask(1)

    (found,) = capture.findings(capture.SLOW_KEY)
    assert "in ask" in found["line"]


def test_the_stack_is_walked_for_what_is_repeated_and_for_nothing_else(db, settings, monkeypatch):
    settings.PERFORMANCE = {"QUERIES": {"slow_query_ms": 60_000.0}}
    walked = []
    monkeypatch.setattr(capture, "calling_line", lambda: walked.append(1) or "here")

    served(lambda request: ask(9))
    assert walked == []

    served(lambda request: ask(30))
    assert walked == [1]
