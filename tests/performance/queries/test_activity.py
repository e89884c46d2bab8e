import threading
import time
from datetime import datetime

import psycopg
import pytest
from django.db import connection

from performance.queries import activity, services
from performance.queries.errors import BackendNotOurs
from performance.queries.pages import BackendForm

pytestmark = pytest.mark.timed


@pytest.fixture
def sleeper(transactional_db):
    """Another client that runs a statement of a minute; what became of it is in `outcome`."""
    other = psycopg.connect(_conninfo(), application_name="sleeper")
    outcome = []

    def run():
        try:
            other.execute("SELECT pg_sleep(60)")
        except psycopg.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    row = _wait_for(
        lambda: next((r for r in activity.running() if "pg_sleep(60)" in r["sql"]), None)
    )
    yield row, thread, outcome
    other.cancel()
    thread.join(timeout=30)
    other.close()


def started(row):
    return datetime.fromisoformat(row["backend_start"])


def _conninfo():
    known = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return psycopg.conninfo.make_conninfo(**{n: known[n] for n in names if known.get(n)})


def _wait_for(look, timeout_s=30):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


def test_a_running_statement_is_seen_and_cancelled(sleeper):
    row, thread, outcome = sleeper
    services.optimizer.cancel(row["pid"], started(row))
    thread.join(timeout=30)

    assert isinstance(outcome[0], psycopg.errors.QueryCanceled)


def test_a_connection_is_ended(sleeper):
    row, thread, outcome = sleeper
    services.optimizer.terminate(row["pid"], started(row))
    thread.join(timeout=30)

    assert isinstance(outcome[0], psycopg.OperationalError)


def test_a_process_id_that_was_used_again_is_left_alone(sleeper):
    row, thread, _ = sleeper
    with pytest.raises(BackendNotOurs, match="another backend's by now"):
        services.optimizer.cancel(row["pid"], started(row).replace(year=2001))

    assert thread.is_alive()


def test_our_own_backend_is_left_alone(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        pid, start = cursor.fetchone()

    with pytest.raises(BackendNotOurs):
        services.optimizer.cancel(pid, start)


def test_the_lock_tree_puts_the_waiting_below_the_blocker(transactional_db):
    one, two = psycopg.connect(_conninfo()), psycopg.connect(_conninfo())
    one.execute("LOCK TABLE odds_sport IN ACCESS EXCLUSIVE MODE")
    thread = threading.Thread(target=lambda: two.execute("SELECT count(*) FROM odds_sport"))
    thread.start()
    tree = _wait_for(activity.lock_tree)
    one.rollback()
    thread.join(timeout=30)
    one.close(), two.close()

    assert [row["depth"] for row in tree] == [0, 1]
    assert "LOCK TABLE" in tree[0]["sql"]
    assert tree[1]["blocked_by"] == [tree[0]["pid"]]


def test_the_page_is_complete_without_javascript(admin_client, sleeper):
    row, *_ = sleeper
    html = admin_client.get("/admin/performance/queries/").content.decode()

    assert str(row["pid"]) in html
    assert "pg_sleep(60)" in html
    assert "Costliest statements" in html


def test_the_form_takes_the_start_as_the_table_shows_it(sleeper):
    row, *_ = sleeper
    form = BackendForm({"pid": row["pid"], "backend_start": row["backend_start"]})

    assert form.is_valid(), form.errors
    assert form.cleaned_data["backend_start"] == started(row)
