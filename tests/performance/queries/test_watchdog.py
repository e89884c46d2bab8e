"""A server that was paused: no setting of PostgreSQL ends that wait, so ours must."""

import os
import signal
import time

import pytest
from django.db import OperationalError, connection, transaction

from performance.queries.watchdog import GuardedConnection, ServerSilent, longer

pytestmark = pytest.mark.timed


@pytest.fixture
def backend(transactional_db):
    """A connection of Django's with a limit of 0.4 s, and its backend's process id."""
    connection.ensure_connection()
    connection.connection.limit_s = 0.4
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    yield pid
    connection.close()


@pytest.fixture
def paused(backend):
    """Stop the backend as SIGSTOP does; skipped where the server is not ours to stop."""
    try:
        os.kill(backend, signal.SIGSTOP)
    except (PermissionError, ProcessLookupError):
        pytest.skip("the backend of this PostgreSQL cannot be stopped by the tests' user")
    yield backend
    os.kill(backend, signal.SIGCONT)


def test_djangos_connections_are_guarded(db):
    connection.ensure_connection()

    assert isinstance(connection.connection, GuardedConnection)


def test_a_query_of_a_paused_server_ends_in_time_with_the_reason(paused):
    started = time.monotonic()
    with pytest.raises(OperationalError, match="QUERY_LIMIT_MS") as caught:
        connection.cursor().execute("SELECT 1")

    assert time.monotonic() - started < 10  # without a limit of ours: never
    assert isinstance(caught.value.__cause__, ServerSilent)


def test_a_commit_of_a_paused_server_ends_in_time(backend):
    def pause_before_commit():
        with transaction.atomic():
            connection.cursor().execute("SELECT 1")
            os.kill(backend, signal.SIGSTOP)

    started = time.monotonic()
    with pytest.raises(OperationalError, match="COMMIT in flight"):
        pause_before_commit()
    os.kill(backend, signal.SIGCONT)

    assert time.monotonic() - started < 10  # without a limit of ours: never


def test_the_next_query_gets_a_new_connection(paused):
    with pytest.raises(OperationalError):
        connection.cursor().execute("SELECT 1")
    connection.close_if_unusable_or_obsolete()

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != paused


def test_longer_lets_one_transaction_take_its_time(backend):
    with transaction.atomic(), longer(connection, limit_ms=5_000), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.6)")

    assert connection.connection.limit_s == 0.4
