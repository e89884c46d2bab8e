"""EXPLAIN ANALYZE runs what reads, and nothing else; the tree marks what is hot."""

import pytest
from django.db import connection

from odds.models import Sport
from performance.queries import plan_tree, plans, tuning, upkeep
from performance.queries.errors import CannotExplain
from performance.queries.explaining import analyze, readable


def add(key):
    Sport.objects.create(key=key, title=key)


REFUSED = {
    "DELETE FROM odds_sport": "only SELECT",
    "WITH gone AS (DELETE FROM odds_sport RETURNING *) SELECT * FROM gone": "DELETE",
    "WITH a AS (INSERT INTO odds_sport (key) VALUES ('x') RETURNING key) SELECT * FROM a": "INSERT",
    "SELECT * INTO stolen FROM odds_sport": "INTO",
    "SELECT * FROM odds_sport FOR UPDATE": "LOCK",
    "SELECT 1; DROP TABLE odds_sport": "2 statements",
    "SELECT nextval('odds_event_id_seq')": "nextval",
    "SELECT pg_terminate_backend(1)": "pg_terminate_backend",
    'SELECT "pg_sleep"(60)': "pg_sleep",
    "SELECT PG_SLEEP /* a */ (60)": "pg_sleep",
    "SELECT set_config('role', 'postgres', false)": "set_config",
    'SELECT U&"pg_sl\\0065ep"(60)': "U&",
    "SELECT * FROM pg_stat_activity": "view",
    "SELECT * FROM odds_sport WHERE key = $1": "parameters",
    "COPY odds_sport TO PROGRAM 'id'": "",
    "SET ROLE postgres": "",
    "EXPLAIN SELECT 1": "",
    "not SQL at all (": "",
    "": "0 statements",
    "SELECT * FROM nowhere_at_all": "PostgreSQL says",
}


@pytest.mark.django_db
@pytest.mark.parametrize("sql", REFUSED)
def test_what_writes_waits_or_hides_is_refused_and_nothing_is_run(sql):
    add("here")
    with pytest.raises(CannotExplain) as refusal:
        analyze(sql)

    assert REFUSED[sql] in str(refusal.value)
    assert Sport.objects.filter(key="here").exists()


@pytest.mark.django_db
def test_a_function_that_lies_about_its_effects_changes_nothing():
    """Called stable, it passes our look; that it may not write is the server's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql STABLE AS "
            "$$ BEGIN DELETE FROM odds_sport; RETURN 1; END $$"
        )
    add("here")
    with pytest.raises(CannotExplain, match="PostgreSQL says"):
        analyze("SELECT sneaky()")

    assert Sport.objects.filter(key="here").exists()


def test_a_megabyte_is_refused_by_its_length():
    with pytest.raises(CannotExplain, match="characters"):
        readable("SELECT " + "1," * 500_000 + "1")


@pytest.mark.django_db
def test_a_statement_that_takes_too_long_is_ended(settings):
    settings.PERFORMANCE = {**settings.PERFORMANCE, "QUERIES": {"explain_ms": 50.0}}

    with pytest.raises(CannotExplain, match="timeout"):
        analyze("SELECT count(*) FROM generate_series(1, 100000000) a")
    assert Sport.objects.count() == 0  # the connection lives on


@pytest.mark.django_db
def test_the_tree_of_a_statement_that_ran_marks_its_hot_node():
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO odds_sport SELECT 's' || n, '', 'S', true, false "
            "FROM generate_series(1, 3000) n"
        )
    plan = analyze("SELECT count(*) FROM odds_sport WHERE title || key = 'nothing'")
    nodes = plan_tree.tree(plan[0]["Plan"])

    (hot,) = [node for node in nodes if node.hot]
    assert hot.title == "Seq Scan on odds_sport"
    assert hot.share > 0.5
    assert any("3000 rows to keep 0" in warning for warning in hot.warnings)
    assert [node.depth for node in nodes] == list(range(len(nodes)))


def test_a_plan_that_was_not_run_is_judged_by_its_cost():
    scan = {"Node Type": "Seq Scan", "Relation Name": "t", "Total Cost": 90, "Plan Rows": 5}
    nodes = plan_tree.tree(
        {"Node Type": "Sort", "Total Cost": 100, "Plan Rows": 5, "Plans": [scan]}
    )

    assert [(node.own_cost, node.hot, node.own_ms) for node in nodes] == [
        (10, False, None),
        (90, True, None),
    ]


@pytest.mark.django_db
def test_upkeep_reads_every_block():
    found = upkeep.blocks()

    assert found["missing"] == []
    assert found["wraparound"][0]["used_ratio"] < 1
    assert any(row["sequence"] == "odds_event_id_seq" for row in found["sequences"])


@pytest.mark.django_db
def test_a_role_without_rights_is_told_what_it_lacks_and_sees_the_rest():
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE stranger")
        cursor.execute("GRANT USAGE ON SCHEMA public TO stranger")
        cursor.execute("SET LOCAL ROLE stranger")
        found = upkeep.blocks()
        shown = tuning.settings(None)
        cursor.execute("RESET ROLE")

    assert found["wraparound"]
    assert shown


def test_each_setting_that_hurts_has_its_reason():
    shown = {
        "shared_buffers": ("128MB", 128 * tuning.MIB),
        "random_page_cost": ("4", 4),
        "fsync": ("off", 0),
        "jit": ("off", 0),
    }
    facts = tuning.Facts(
        memory_bytes=16 * 1024 * tuning.MIB,
        database_bytes=8 * 1024 * tuning.MIB,
        hit_ratio=0.9,
        temp_bytes=0,
        connections=3,
        requested_checkpoint_ratio=None,
    )
    advice = {one.name: one.advice for one in tuning.judge(shown, facts)}

    assert "4096 MB" in advice["shared_buffers"]
    assert "SSD" in advice["random_page_cost"]
    assert "power cut" in advice["fsync"]
    assert advice["jit"] == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT extract($1 FROM now()) * $2",
        "SELECT now() + interval $1",
        "SELECT EXTRACT( $1 FROM e.commence_time) FROM odds_event e WHERE e.key = $2",
    ],
)
def test_what_the_statistics_write_for_constants_is_planned_all_the_same(sql):
    with connection.cursor() as cursor:
        assert plans.explain(cursor, sql)["Node Type"]
