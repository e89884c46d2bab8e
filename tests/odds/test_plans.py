"""What readers ask stays off whole tables: asserted on the server's own plans."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connection

from odds import answers, boards, history, opportunities

LARGE = ("odds_event", "odds_price", "odds_pricechange", "odds_sheet")
SPORT = "sport_7"

FILL = """
INSERT INTO odds_sport SELECT 'sport_' || n, '', 'Sport ' || n, true, false
FROM generate_series(1, 40) n;
INSERT INTO odds_bookmaker (key, title, is_exchange, commission, active)
SELECT 'book' || n, 'Book ' || n, false, 0, true FROM generate_series(1, 12) n;
INSERT INTO odds_event (key, sport_id, commence_time, date_only, home_team, away_team)
SELECT md5(n::text), 'sport_' || 1 + n % 40, now() + (n - 2000) * interval '1 hour', false, 'H', 'A'
FROM generate_series(1, 6000) n;
INSERT INTO odds_price (event_id, bookmaker_id, market, outcome, price, last_update)
SELECT e.id, b.id, 'h2h', o.outcome, 2.5, now()
FROM odds_event e, odds_bookmaker b, (VALUES ('H'), ('Draw'), ('A')) o (outcome)
WHERE e.id % 3 = 0;
UPDATE odds_event e SET markets = '{h2h}'
WHERE EXISTS (SELECT FROM odds_price p WHERE p.event_id = e.id);
INSERT INTO odds_sheet (event_id, market, revision, lines)
SELECT id, 'h2h', 0, '["h2h","H",null,[["book1",1,2.5,0,0]]]' FROM odds_event
WHERE markets = '{h2h}' AND id % 6 = 0;
INSERT INTO odds_pricechange (price_id, recorded_at, event_id, price)
SELECT id, now(), event_id, price FROM odds_price;
ANALYZE odds_event; ANALYZE odds_price; ANALYZE odds_bookmaker; ANALYZE odds_sport;
ANALYZE odds_pricechange; ANALYZE odds_sheet
"""


@pytest.fixture(scope="module")
def large(django_db_setup, django_db_blocker):
    """72,000 prices in 6,000 events, half of them with sheets: indexes are what a plan wants."""
    with django_db_blocker.unblock():
        from odds import partitions

        partitions.make_sure_of(datetime.now(UTC))
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for statement in FILL.split(";"):
                cursor.execute(statement)
            cursor.execute(
                "SELECT e.key FROM odds_event e JOIN odds_price p ON p.event_id = e.id LIMIT 1"
            )
            key = cursor.fetchone()[0]
        yield key
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE odds_pricechange, odds_price, odds_sheet, odds_opportunity, odds_event, "
                "odds_bookmaker, odds_sport"
            )
            cursor.execute("SET statement_timeout TO DEFAULT")


@contextmanager
def asked():
    """Collect the (sql, parameters) of every statement."""
    found = []

    def note(execute, sql, params, many, context):
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def plan_of(sql, params):
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql, params)
        found = cursor.fetchone()[0]
    found = json.loads(found) if isinstance(found, str) else found
    return found[0]["Plan"]


def whole_reads(node):
    """Return the large tables that a plan reads from beginning to end."""
    found = [whole_reads(child) for child in node.get("Plans", ())]
    name = node.get("Relation Name", "")
    large = name.startswith(LARGE) and not name.endswith("_default")  # that one is empty
    mine = [name] if node["Node Type"] == "Seq Scan" and large else []
    return mine + [one for some in found for one in some]


EPOCH_S = datetime.now(UTC).timestamp()
READERS = {
    "board": lambda key: boards.board(SPORT, market="h2h", total=1),
    "board of some bookmakers": lambda key: boards.board(
        SPORT, market="h2h", bookmakers=["book1"], total=1
    ),
    "a later page": lambda key: boards.board(SPORT, market="h2h", page=2, total=1),
    "its total": lambda key: boards.board_total(SPORT, "h2h"),
    "event": lambda key: boards.event(key),
    "history": lambda key: history.moves(key, 0),
    "history of its days": lambda key: history.moves(key, EPOCH_S - 1e5, EPOCH_S + 1e5),
    "sports": lambda key: boards.sports(),
    "ids that begin alike": lambda key: boards.near_events(key),
    "the API's odds": lambda key: answers.odds(SPORT),
    "the API's odds of three markets": lambda key: answers.odds(
        SPORT, markets=["h2h", "spreads", "totals"]
    ),
    "the API's upcoming": lambda key: answers.odds(answers.UPCOMING),
    "the API's event": lambda key: answers.event_odds(key),
    "arbitrage": lambda key: opportunities.opportunities(),
}


MOST_STATEMENTS = {"the API's odds": 5, "the API's odds of three markets": 5}
"""Of a sport with a hundred events 25 are read at a time."""
UNHELD = {"its total", "history", "history of its days", "sports", "ids that begin alike"}
UNHELD |= {"arbitrage"}


def fetched(node, alias):
    """Return how many rows a plan took from the table that it calls `alias`."""
    mine = node["Actual Rows"] * node["Actual Loops"] if node.get("Alias") == alias else 0
    return mine + sum(fetched(child, alias) for child in node.get("Plans", ()))


@pytest.mark.django_db
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_reads_a_large_table_whole_and_each_asks_once(large, reader):
    with asked() as statements:
        READERS[reader](large)

    assert 1 <= len(statements) <= MOST_STATEMENTS.get(reader, 1)
    for sql, params in statements:
        assert whole_reads(plan_of(sql, params)) == []


@pytest.mark.django_db
@pytest.mark.parametrize("reader", [name for name in READERS if name not in UNHELD])
def test_a_reader_that_holds_all_of_it_reads_no_price(large, reader):
    READERS[reader](large)
    with asked() as statements:
        READERS[reader](large)

    (sql, params) = statements[0]
    assert len(statements) == 1
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, params)
        plan = json.dumps(cursor.fetchone()[0])
    assert fetched(json.loads(plan)[0]["Plan"], "p") == 0


@pytest.mark.django_db
def test_the_history_of_an_event_opens_only_its_own_days(large):
    from odds import partitions

    for day in (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)):
        partitions.ensure(day.date())
    with asked() as statements:
        history.moves(large, EPOCH_S - 1e5, EPOCH_S + 1e5)

    sql, params = statements[0]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, params)
        text = json.dumps(cursor.fetchone()[0])
    assert "odds_pricechange_20200101" not in text


@pytest.mark.django_db
def test_reading_a_large_table_whole_is_noticed(large):
    assert whole_reads(plan_of("SELECT count(*) FROM odds_price", None)) == ["odds_price"]
