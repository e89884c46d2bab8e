"""A real streaming replica: reads go to it, own writes are seen, a dead or late one is left out."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from django.db import connection, connections
from django.http import HttpResponse
from django.test import RequestFactory

from odds.models import Sport
from performance.queries import replicas, router
from protipp.stack import postgres
from protipp.stack.accounts import server_account
from protipp.stack.processes import end, start
from tests.conftest import Up

pytestmark = pytest.mark.stack
WITHIN_S = 25
"""What is promised is 2 s; the machine of a test run may be busy."""


class Replica:
    """A second server that streams from the one of the tests."""

    def __init__(self, folder: Path) -> None:
        known = connection.get_connection_params()
        account = server_account(folder / "data")
        if account:
            os.chown(folder, account.uid, account.gid)
        self.cluster = postgres.Cluster(
            data=folder / "data",
            sockets=folder,
            programs=postgres._programs(account),
            account=account,
            durable=False,
        )
        whom = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        subprocess.run(
            [self.cluster.programs / "bin" / "pg_basebackup", "-D", self.cluster.data,
             "-h", known["host"], "-U", postgres.ROLE, "-R", "--checkpoint=fast", "--no-sync"],
            check=True, capture_output=True, timeout=60, env=postgres.ENVIRONMENT, cwd="/", **whom,
        )  # fmt: skip
        self.database = known["dbname"]
        self.spec = postgres.spec(self.cluster)
        self.log = folder / "log"
        self.start()

    def start(self) -> None:
        self.process = start(self.spec, self.log)

    def stop(self) -> None:
        end(self.process, self.spec.stop_signal, within_s=4)

    def run(self, sql):
        url = self.cluster.url_of(self.database)
        with psycopg.connect(url, autocommit=True) as link:
            return link.execute(sql).fetchone()


@pytest.fixture(scope="module")
def replica(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        folder = Path(tempfile.mkdtemp(prefix="protipp-replica-"))
        folder.chmod(0o711)
        made = Replica(folder)
        yield made
        made.stop()


@pytest.fixture(autouse=True)
def site(replica, django_db_blocker):
    """The site with the replica in its DATABASES."""
    with django_db_blocker.unblock():
        default = connections.settings["default"]
        connections.settings["replica1"] = {
            **default,
            "HOST": str(replica.cluster.sockets),
            "NAME": connection.settings_dict["NAME"],
        }
        until(lambda: replicas.choose() == "replica1")
        yield
        replicas.stop()
        Sport.objects.using("default").filter(pk="here").delete()
        if "replica1" in connections.settings:
            connections["replica1"].close()
            del connections["replica1"]
            del connections.settings["replica1"]


def until(true):
    return Up.until(true, within_s=WITHIN_S)


def add_sport():
    Sport.objects.create(pk="here", title="Here")


def fresh(run):
    """Run in a context of its own, as each request has."""
    import contextvars

    return contextvars.Context().run(run)


def test_reads_go_to_the_replica_and_writes_to_the_primary(replica):
    assert fresh(lambda: Sport.objects.all().db) == "replica1"
    fresh(add_sport)  # the replica would refuse it

    until(lambda: fresh(lambda: Sport.objects.filter(pk="here").exists()))


def test_who_wrote_sees_it_even_while_the_replica_stands_still(replica):
    replica.run("SELECT pg_wal_replay_pause()")
    try:

        def write_and_read():
            add_sport()
            return Sport.objects.filter(pk="here").exists()

        assert fresh(write_and_read)
    finally:
        replica.run("SELECT pg_wal_replay_resume()")


def test_the_next_request_of_who_wrote_is_pinned_by_a_cookie_and_others_are_not():
    def view(request):
        return HttpResponse(Sport.objects.all().db)

    def write(request):
        add_sport()
        return HttpResponse()

    wrote = fresh(lambda: router.read_own_writes(write)(RequestFactory().post("/")))
    assert wrote.cookies[router.COOKIE]["max-age"] == 5
    again = RequestFactory().get("/")
    again.COOKIES[router.COOKIE] = "1"
    assert fresh(lambda: router.read_own_writes(view)(again)).content == b"default"
    other = fresh(lambda: router.read_own_writes(view)(RequestFactory().get("/")))
    assert (other.content, dict(other.cookies)) == (b"replica1", {})


def test_inside_a_transaction_everything_is_asked_of_the_primary():
    from django.db import transaction

    with transaction.atomic():
        assert fresh(lambda: Sport.objects.all().db) == "default"


def test_a_replica_that_lags_is_left_out_and_taken_back(replica):
    replica.run("SELECT pg_wal_replay_pause()")
    fresh(add_sport)
    until(lambda: replicas.choose() is None)
    assert "behind" in replicas.watch().health["replica1"].why

    replica.run("SELECT pg_wal_replay_resume()")
    until(lambda: replicas.choose() == "replica1")


def test_a_frozen_replica_is_left_out_and_taken_back(replica):
    pids = [replica.process.pid]
    import psutil

    pids += [child.pid for child in psutil.Process(replica.process.pid).children()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: replicas.choose() is None)
        assert fresh(lambda: Sport.objects.all().db) == "default"
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    until(lambda: replicas.choose() == "replica1")


def test_a_read_that_a_dying_replica_fails_is_answered_by_the_primary(replica):
    assert fresh(lambda: Sport.objects.count()) >= 0  # a connection to it is open
    replica.stop()
    try:

        def one(link):
            with link.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery()")
                return cursor.fetchone()[0]

        started = time.monotonic()
        assert fresh(lambda: router.on_replica(one)) is False
        assert time.monotonic() - started < WITHIN_S
        assert replicas.choose() is None
    finally:
        replica.start()
    until(lambda: replicas.choose() == "replica1")


@pytest.mark.django_db  # without one such test pytest-django makes no test database
def test_without_replicas_the_router_reads_the_primary(monkeypatch):
    replicas.stop()
    monkeypatch.setattr(replicas, "aliases", list)

    assert router.place_to_read() == "default"
