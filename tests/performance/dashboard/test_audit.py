from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError, ProgrammingError, connection, transaction

from performance.dashboard import audit
from performance.dashboard.models import AuditEntry

ANNA = SimpleNamespace(pk=7, get_username=lambda: "anna")


def add(run="0" * 32, state=AuditEntry.State.DENIED, **more):
    line = {"act": "demo.press", "who": ANNA, "address": "127.0.0.1", "given": {}, **more}
    return audit.append(state, run=run, **line)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "update performance_dashboard_auditentry set who = 'bert'",
        "delete from performance_dashboard_auditentry",
        "truncate performance_dashboard_auditentry",
    ],
)
def test_the_database_refuses_to_change_the_audit(statement):
    add()
    with (
        pytest.raises((ProgrammingError, InternalError), match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.django_db
class TestVerify:
    """As a superuser, who can put the trigger aside; so this is what the chain is for."""

    @pytest.fixture(autouse=True)
    def _lines(self):
        self.number = add().number + 1
        add(given={"odd": "\x00 ’ 1.10", "n": 0.1})
        add()

    def test_a_whole_chain_is_whole(self):
        verdict = audit.verify()

        assert verdict.problem is None
        assert verdict.checked == self.number + 1
        call_command("verify_audit", head=verdict.head)

    def test_an_altered_line_is_named(self):
        self.as_superuser("update {} set who = 'bert' where number = %s")

        assert f"Line {self.number} was altered" in audit.verify().problem
        with pytest.raises(CommandError, match=f"Line {self.number} was altered"):
            call_command("verify_audit")

    def test_a_deleted_line_is_named(self):
        self.as_superuser("delete from {} where number = %s")

        assert f"Line {self.number} is missing" in audit.verify().problem

    def test_a_line_put_in_is_named(self):
        self.as_superuser("update {} set number = number + 1 where number > %s")
        self.as_superuser(
            "insert into {0} select number + 1, at, state, act, run, who_id, 'eve', address, given,"
            " result, repeat('a', 64), repeat('b', 64) from {0} where number = %s"
        )

        assert f"Line {self.number + 1} does not follow" in audit.verify().problem

    def test_a_cut_end_shows_against_a_head_from_the_log(self):
        head = audit.verify().head
        self.as_superuser("delete from {} where number > %s")

        assert audit.verify().problem is None
        assert "is not in the chain" in audit.verify(head).problem

    def as_superuser(self, statement):
        table = AuditEntry._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute("set local session_replication_role = replica")
            cursor.execute(statement.format(table), [self.number])
            cursor.execute("set local session_replication_role = origin")


@pytest.mark.django_db(transaction=True)
def test_fifty_lines_at_once_keep_one_chain():
    failures = []

    def write():
        try:
            for _ in range(10):
                add()
        except Exception as error:  # noqa: BLE001 - a thread has no other way to say so
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert audit.verify().problem is None
