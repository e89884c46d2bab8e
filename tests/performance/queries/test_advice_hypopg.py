"""Debian's PostgreSQL 15 with HypoPG: the whole schema, the readers, advice without a copy."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from protipp.stack.accounts import server_account
from protipp.stack.postgres import ENVIRONMENT
from tests.conftest import ROOT, Up

pytestmark = pytest.mark.timed

DEBIAN = Path("/usr/lib/postgresql/15")


@pytest.fixture(scope="module")
def debian():
    """Its connection URL; run by an account of the system that is not root."""
    if not (DEBIAN / "lib" / "hypopg.so").exists():
        message = "postgresql-15 and postgresql-15-hypopg are not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="protipp-pg15-"))
    account = server_account(folder / "data")
    whom = {}
    if account:
        os.chown(folder, account.uid, account.gid)
        whom = {"user": account.uid, "group": account.gid, "extra_groups": []}
    options = {"env": ENVIRONMENT, "cwd": "/", **whom}
    subprocess.run(
        [DEBIAN / "bin" / "initdb", "-D", folder / "data", "-U", "protipp", "--auth=trust",
         "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
        check=True, capture_output=True, timeout=60, **options,
    )  # fmt: skip
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": folder,
        "shared_preload_libraries": "pg_stat_statements",
        "fsync": "off",
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [DEBIAN / "bin" / "postgres", "-D", folder / "data", *arguments],
            stdout=log, stderr=log, **options,
        )  # fmt: skip
    try:
        base = f"postgresql://protipp@{str(folder).replace('/', '%2F')}"

        def answers():
            with contextlib.suppress(psycopg.OperationalError):
                with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
                    connection.execute("CREATE DATABASE protipp")
                return True

        Up.until(answers, within_s=30)
        yield f"{base}/protipp"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


@pytest.fixture(scope="module")
def told(debian):
    own = {"DATABASE_URL": debian, "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "protipp.settings"}
    for argv in (
        [ROOT / "manage.py", "migrate", "--verbosity", "0"],
        [Path(__file__).parent / "stripped.py"],
    ):
        ended = subprocess.run(
            [sys.executable, *argv],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout)


def test_the_whole_schema_and_its_readers_work_on_postgresql_15(told):
    assert told["version"] // 10_000 == 15


def test_hypopg_finds_back_the_indexes_that_matter(told):
    found = {(one["table"], one["columns"][0]): one["proved_by"] for one in told["advices"]}

    assert found["odds_price", "event_id"] == "HypoPG"
    assert found["odds_event", "key"] == "HypoPG"
    # With Debian's own random_page_cost of 4, and though the events lie in the order of their time.
    assert found["odds_event", "sport_id"] == "HypoPG"
    assert found["odds_pricechange", "event_id"] == "a bounded copy"
    assert len(found) <= 5


def test_the_migration_that_is_written_runs_and_ends_the_advice(told):
    assert told["advised_after_migrating"] == 0


def test_what_was_imagined_is_not_planned_with_afterwards(told):
    assert told["plan_after_advising"] == "Seq Scan"


def test_nothing_of_the_proof_stays(debian, told):
    with psycopg.connect(debian) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'advised%'"
        ).fetchone()

    assert left == (0,)
