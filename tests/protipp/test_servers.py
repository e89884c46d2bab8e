"""The embedded servers: where their data lie, and that no folder is opened for them."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from django.db import connection

from protipp.stack import postgres
from protipp.stack.processes import Spec, end, run
from protipp.stack.servers import Servers

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")


def modes(path):
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in (path, *path.parents)}


@pytest.mark.django_db
def test_tests_have_a_postgres_of_their_own_with_statement_statistics():
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_stat_statements")

        assert cursor.fetchone()[0] > 0
    assert "protipp-tests-" in connection.settings_dict["HOST"]


@as_root
def test_below_a_private_home_postgres_runs_elsewhere_and_no_mode_changes(tmp_path, monkeypatch):
    shared = Path(f"/var/tmp/protipp-test-{os.getpid()}")
    monkeypatch.setattr(postgres, "SHARED_DIR", shared)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    before = modes(home)
    servers = Servers(home / "clone" / ".local", durable=False, given={})
    try:
        environment = servers.start()
        with psycopg.connect(environment["DATABASE_URL"]) as found:
            (data,) = found.execute("select current_setting('data_directory')").fetchone()

        assert Path(data).is_relative_to(shared)
        assert stat.S_IMODE(Path(data).stat().st_mode) == 0o700
        assert modes(home) == before
    finally:
        servers.stop()
        subprocess.run(["rm", "-rf", str(shared)], check=True)


@as_root
def test_an_ordinary_user_has_servers_too():
    """In a child that gives root up: the interpreter itself may lie where that user cannot go."""
    user = pwd.getpwnam("nobody")
    local = Path(f"/var/tmp/protipp-user-{os.getpid()}")
    local.mkdir(mode=0o700)
    os.chown(local, user.pw_uid, user.pw_gid)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            servers = Servers(local / "local", durable=False, given={})
            environment = servers.start()
            with psycopg.connect(environment["DATABASE_URL"]) as found:
                found.execute("select count(*) from pg_stat_statements")
            servers.stop()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    owners = {path.stat().st_uid for path in local.rglob("*")}
    subprocess.run(["rm", "-rf", str(local)], check=True)

    assert os.waitstatus_to_exitcode(status) == 0
    assert owners == {user.pw_uid}


def test_the_cache_evicts_and_the_bus_does_not(tmp_path):
    servers = Servers(tmp_path, durable=False, given={"DATABASE_URL": "given"})
    try:
        environment = servers.start()
        policies = {}
        for name in ("CACHE_URL", "REDIS_URL"):
            with redis.Redis.from_url(environment[name]) as client:
                policies[name] = client.config_get("maxmemory-policy")["maxmemory-policy"]

        assert policies == {"CACHE_URL": "allkeys-lfu", "REDIS_URL": "noeviction"}
        assert "DATABASE_URL" not in environment
    finally:
        servers.stop()


def test_a_stranger_of_this_machine_cannot_enter_a_valkey(tmp_path):
    given = {"DATABASE_URL": "given", "CACHE_URL": "given"}
    servers = Servers(tmp_path, durable=False, given=given)
    try:
        host = servers.start()["REDIS_URL"].rpartition("@")[2]
        client = redis.Redis.from_url(f"redis://{host}")
        with client, pytest.raises(redis.AuthenticationError):
            client.ping()
    finally:
        servers.stop()


def test_servers_die_with_a_killed_parent():
    code = (
        "import tempfile, pathlib, time; from protipp.stack.servers import Servers;"
        "local = pathlib.Path(tempfile.mkdtemp(prefix='protipp-kill-')); local.chmod(0o711);"
        "Servers(local, durable=False, given={}).start(); print(local, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        local = parent.stdout.readline().strip()
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    _, alive = psutil.wait_procs(children, timeout=10)
    subprocess.run(["rm", "-rf", local], check=True)
    assert len(children) > 2
    assert not alive


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(tmp_path):
    tmp_path.chmod(0o711)
    given = {"CACHE_URL": "given", "REDIS_URL": "given"}
    local = Path(f"/var/tmp/protipp-stale-{os.getpid()}")
    first = Servers(local, durable=False, given=given)
    first.start()
    first.stop()
    stranger = psutil.Process().pid
    (local / "postgres" / "postmaster.pid").write_text(f"{stranger}\n{local}/postgres\n")

    second = Servers(local, durable=False, given=given)
    began = time.monotonic()
    try:
        second.start()
        assert time.monotonic() - began < 20
    finally:
        second.stop()
        subprocess.run(["rm", "-rf", str(local)], check=True)


def test_what_works_behind_the_scenes_lets_others_go_first(tmp_path):
    spec = Spec(name="behind", argv=("/bin/sleep", "60"), nice=7)
    with (tmp_path / "log").open("ab") as output:
        process = run(spec, output)
    try:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == max(own, 7)
        group = Path(f"/proc/{process.pid}/autogroup")
        if group.exists():  # Linux, where sessions are scheduled as one
            assert group.read_text().endswith("nice 7\n")
    finally:
        end(process, spec.stop_signal, within_s=5)
