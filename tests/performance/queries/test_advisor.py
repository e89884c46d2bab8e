import io
import json
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from performance.queries import services, statistics
from performance.queries.candidates import Candidate, candidates

COLUMNS = {"t": ["id", "a", "b", "c"], "u": ["id", "t_id"]}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM t WHERE a = $1", [("a",)]),
        ("SELECT * FROM t WHERE b > $1 AND a = $2", [("a", "b"), ("a",), ("b",)]),
        ("SELECT * FROM t WHERE a = $1 ORDER BY c", [("a", "c"), ("a",), ("c",)]),
        ("SELECT * FROM t x WHERE x.a IN ($1, $2)", [("a",)]),
        ("UPDATE t SET b = 1 WHERE a = $1", [("a",)]),
        ("SELECT * FROM t", []),
        ("SELECT * FROM unknown WHERE a = 1", []),
        ("this is no SQL (", []),
    ],
)
def test_candidates_are_read_off_the_predicates(sql, expected):
    assert [one.columns for one in candidates(sql, COLUMNS) if one.table == "t"] == expected


def test_conditions_on_null_suggest_a_partial_index():
    found = candidates("SELECT * FROM t WHERE a = $1 AND b IS NULL ORDER BY c LIMIT 5", COLUMNS)

    assert Candidate("t", ("a", "c"), where=(("b", "IS NULL"),)) in found
    found = candidates("SELECT * FROM t WHERE NOT b IS NULL AND a = $1", COLUMNS)
    assert Candidate("t", ("a",), where=(("b", "IS NOT NULL"),)) in found


def test_a_few_columns_that_are_read_suggest_a_covering_index():
    found = candidates("SELECT b, c FROM t WHERE a = $1", COLUMNS)

    assert Candidate("t", ("a",), include=("b", "c")) in found


def test_the_definition_quotes_hostile_names():
    evil = Candidate('t"; DROP TABLE t; --', ("a b",), ("c",), (("d", "IS NULL"),))

    assert evil.definition() == (
        'ON "t""; DROP TABLE t; --" ("a b") INCLUDE ("c") WHERE "d" IS NULL'
    )


def test_a_statement_of_a_megabyte_suggests_nothing_and_costs_nothing():
    sql = "SELECT * FROM t WHERE a IN (" + ", ".join(["$1"] * 200_000) + ")"

    started = time.thread_time()
    assert candidates(sql, COLUMNS) == []
    assert time.thread_time() - started < 1


def test_a_join_suggests_its_foreign_column():
    found = candidates("SELECT * FROM t JOIN u ON u.t_id = t.id WHERE t.a = 1", COLUMNS)

    assert Candidate("u", ("t_id",)) in found


@pytest.fixture
def large_table(db):
    """Events without any index on `home_team`, and the statement that would want one."""
    statistics.ensure_extension()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO odds_sport VALUES ('s', '', 'S', true, false)")
        cursor.execute(
            """
            INSERT INTO odds_event (key, sport_id, commence_time, date_only, home_team, away_team)
            SELECT md5(n::text), 's', now(), false, 'team ' || n, '' FROM generate_series(1, 5000) n
            """
        )
        cursor.execute("ANALYZE odds_event")
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_statements_reset()")
        for number in range(5):
            cursor.execute("SELECT * FROM odds_event WHERE home_team = %s", [f"team {number}"])


def advise():
    return [one for one in services.optimizer.advise() if one.table == "odds_event"]


def test_a_missing_index_is_found_and_proved(large_table, monkeypatch):
    monkeypatch.setattr("performance.queries.indexes.row_counts", _sizes)

    (advice,) = advise()
    assert advice.columns == ("home_team",)
    assert advice.cost_after < advice.cost_before / 2
    assert advice.size_bytes > 0


def test_nothing_remains_of_the_proof(large_table, monkeypatch):
    monkeypatch.setattr("performance.queries.indexes.row_counts", _sizes)
    advise()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname = 'advised'")
        assert cursor.fetchone()[0] == 0


def test_no_index_is_advised_where_one_serves_already(large_table, monkeypatch):
    monkeypatch.setattr("performance.queries.indexes.row_counts", _sizes)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or their checks hold the table
        cursor.execute("CREATE INDEX ON odds_event (home_team)")
        cursor.execute("ANALYZE odds_event")

    assert advise() == []


def test_the_migration_is_python_that_adds_the_index(large_table, monkeypatch):
    monkeypatch.setattr("performance.queries.indexes.row_counts", _sizes)
    out = io.StringIO()
    call_command("advise_indexes", "--migration", "odds", stdout=out)

    namespace = {}
    exec(compile(out.getvalue(), "migration", "exec"), namespace)
    (operation,) = namespace["Migration"].operations
    assert operation.index.fields == ["home_team"]
    assert namespace["Migration"].atomic is False


def test_json_names_the_gain(large_table, monkeypatch):
    monkeypatch.setattr("performance.queries.indexes.row_counts", _sizes)
    out = io.StringIO()
    call_command("advise_indexes", "--json", stdout=out)

    assert any(one["gain_ratio"] > 0.5 for one in json.loads(out.getvalue()))


def test_an_unknown_app_is_refused_with_those_there_are():
    with pytest.raises(CommandError, match="odds"):
        call_command("advise_indexes", "--migration", "oods")


def _sizes():
    # The server's row counts are flushed at a transaction's end, which a test's never reaches.
    return {"odds_event": 5000}
