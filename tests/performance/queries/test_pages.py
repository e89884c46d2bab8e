"""The pages for one statement and for upkeep: complete, refusing what is wrong, true when empty."""

import datetime

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.utils import timezone

from performance.queries import plans_kept, services, sizes, statistics
from performance.queries.models import TableDay
from performance.queries.statistics import Statement

pytestmark = pytest.mark.django_db
PLAN = "/admin/performance/queries-plan/"
UPKEEP = "/admin/performance/queries-database/"


def some_statement():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")  # else it is none of the costliest 500
        cursor.execute("SELECT count(*) FROM odds_sport WHERE title = 'x'")
    return next(
        one
        for one in services.optimizer.slowest(limit=500)
        if one.sql.startswith("SELECT count(*) FROM odds_sport WHERE title =")
    )


def test_a_statement_is_shown_with_its_plan_and_cost(admin_client):
    one = some_statement()
    html = admin_client.get(f"{PLAN}?query={one.query_id}").content.decode()

    assert "Seq Scan on odds_sport" in html
    assert ">hot</span>" in html
    assert "No minute is kept yet" in html


def test_a_plan_that_ran_is_kept_and_shown_with_its_times(admin_client):
    name = services.optimizer.analyze("SELECT count(*) FROM odds_sport")
    html = admin_client.get(f"{PLAN}?plan={name}").content.decode()

    assert "rolled back" in html
    assert "Aggregate" in html


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("query=1;DROP", "is no query id"),
        ("query=12345", "counts no statement 12345"),
        ("query=99999999999999999999999", "is no query id"),
        ("plan=gone", "kept for an hour"),
        ("", "Choose a statement"),
    ],
)
def test_wrong_addresses_are_answered_in_words(admin_client, query, said):
    answer = admin_client.get(f"{PLAN}?{query}")

    assert answer.status_code == 200
    assert said in answer.content.decode()


def test_explaining_needs_its_own_permission_and_refuses_what_writes(client):
    user = User.objects.create_user("anna", password="a long one 4 tests", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_queries"))
    client.force_login(user)
    address = "/admin/performance/acts/queries.analyze/"
    assert client.post(address, {"sql": "SELECT 1"}).status_code == 403

    user.user_permissions.add(Permission.objects.get(codename="explain_query"))
    client.post(address, {"sql": "DELETE FROM auth_user"})
    assert User.objects.filter(username="anna").exists()


def test_statements_can_be_sorted_and_a_wrong_sort_names_those_there_are(admin_client):
    some_statement()
    assert (
        "<strong>variable</strong>"
        in admin_client.get("/admin/performance/queries/?sort=variable").content.decode()
    )

    html = admin_client.get("/admin/performance/queries/?sort=colour").content.decode()
    assert "total, mean, calls, variable" in html


def test_the_upkeep_page_is_complete(admin_client):
    plans_kept.keep_advice([])
    html = admin_client.get(UPKEEP).content.decode()

    for heading in ("Bloat", "Transaction ids", "Sequences", "Settings", "Replication", "Vacuum"):
        assert heading in html
    assert "power cut" in html  # the tests' own server has fsync off
    assert "None was missing" in html


def test_growth_is_the_difference_to_a_week_ago():
    sizes.take()
    assert sizes.take() > 5  # twice a day is once
    TableDay.objects.filter(table="odds_price").update(
        day=timezone.now().date() - datetime.timedelta(days=7), size_bytes=1
    )

    growth = {row["table"]: row["grown_bytes"] for row in sizes.growth()}
    assert growth.get("odds_price") is None or growth["odds_price"] >= 0
    assert TableDay.objects.filter(table="odds_event").count() == 1


def statement(**changes):
    given = {
        "query_id": 1, "sql": "SELECT 1", "route": "/events/<key>/", "calls": 6_000,
        "total_ms": 100.0, "mean_ms": 1.0, "stddev_ms": 0.0, "max_ms": 1.0, "rows": 6_000,
        "hit_ratio": 1.0,
    }  # fmt: skip
    return Statement(**(given | changes))


def test_what_is_read_often_and_returns_little_is_worth_caching():
    found = statistics.repeated(
        [
            statement(),
            statement(query_id=2, calls=10),
            statement(query_id=3, sql="UPDATE t SET a = 1"),
            statement(query_id=4, route="worker"),
            statement(query_id=5, rows=600_000),
        ],
        over_s=600,
    )

    assert [(row["query_id"], row["saved_ratio"]) for row in found] == [("1", 0.98)]
