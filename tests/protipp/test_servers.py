import pytest
from django.db import connection


@pytest.mark.django_db
def test_tests_have_a_postgres_of_their_own_with_statement_statistics():
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_stat_statements")

        assert cursor.fetchone()[0] > 0
    assert "protipp-tests-" in connection.settings_dict["HOST"]
