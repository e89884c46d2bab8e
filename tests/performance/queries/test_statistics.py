import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from performance.core import context
from performance.queries import services, statistics
from performance.queries.models import QueryMinute, QueryShape

MARK = "marked_for_the_statistics"


def run(times):
    with connection.cursor() as cursor:
        for number in range(times):
            cursor.execute(
                f"SELECT count(*) AS {MARK} FROM odds_sport WHERE key <> %s", [str(number)]
            )


def find(statements):
    return next(one for one in statements if MARK in one.sql)


@pytest.fixture(autouse=True)
def _reset(db):
    statistics.ensure_extension()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")


def test_the_servers_own_counts_are_shown():
    run(3)

    assert find(services.optimizer.slowest(sort="calls", limit=200)).calls == 3


def test_a_statement_names_the_route_that_asked_first():
    token = context.route.set("events/<str:key>/")
    run(1)
    context.route.reset(token)

    found = find(services.optimizer.slowest(sort="calls", limit=200))
    assert found.route == "events/<str:key>/"
    assert "route" not in found.sql


def test_history_holds_differences_and_looking_twice_adds_nothing():
    run(3)
    services.take_sample()
    run(2)
    services.take_sample()
    services.take_sample()

    shape = QueryShape.objects.get(sql__contains=MARK)
    assert sum(row.calls for row in QueryMinute.objects.filter(shape=shape)) == 5


def test_a_reset_by_somebody_else_loses_no_calls():
    run(3)
    services.take_sample()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")
    run(2)
    services.take_sample()

    shape = QueryShape.objects.get(sql__contains=MARK)
    assert sum(row.calls for row in QueryMinute.objects.filter(shape=shape)) == 5


def test_the_command_gives_json():
    run(1)
    out = io.StringIO()
    call_command("slow_queries", "--json", "--sort", "calls", "--limit", "200", stdout=out)

    assert any(MARK in one["sql"] for one in json.loads(out.getvalue()))


def test_an_unknown_order_is_refused_by_name():
    with pytest.raises(CommandError, match="'total', 'mean', 'calls', 'variable'"):
        call_command("slow_queries", "--sort", "fastest")


@pytest.mark.django_db
def test_an_ordinary_role_is_told_that_it_sees_its_own_alone_and_pg_monitor_sees_all():
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE ordinary")
        cursor.execute("SET LOCAL ROLE ordinary")
        told = statistics.hidden_from_us()
        cursor.execute("RESET ROLE")
        cursor.execute("GRANT pg_monitor TO ordinary")
        cursor.execute("SET LOCAL ROLE ordinary")
        then = statistics.hidden_from_us()
        cursor.execute("RESET ROLE")

    assert "GRANT pg_monitor TO ordinary" in told
    assert then == ""
