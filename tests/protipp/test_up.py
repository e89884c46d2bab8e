"""`manage.py up` as people meet it. Most tests share one stack; the last ones end their own."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

pytestmark = pytest.mark.stack
SERVERS = {"postgres", "valkey-cache", "valkey-bus"}
SITE = {"haproxy", "web-1", "web-2", "live-1"}
BEHIND = {"worker", "beat", "monitor", "balance"}


def published(up):
    return json.loads((up.local / "stack.json").read_text())


def ask(up, request):
    """Ask the control socket as the balancer does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(published(up)["environment"]["PROTIPP_SUPERVISOR"])
        connection.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(connection.makefile().readline())


def listens(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_the_site_answers_behind_the_proxy(up):
    assert up.status("/healthz") == 200


def test_every_process_of_the_design_runs(up):
    assert up.noted().keys() >= SERVERS | SITE
    up.until(lambda: up.noted().keys() >= BEHIND, within_s=30)


def test_the_last_lines_say_where_it_is_and_how_to_get_in(up):
    password = (up.local / "admin-password").read_text().strip()

    assert len(password) >= 12
    for expected in (f"http://127.0.0.1:{up.port}/admin/", "admin", password):
        assert expected in up.text()


def test_no_password_is_kept_in_the_log_file(up):
    log = (up.local / "up.log").read_text()

    for secret in ("admin-password", "secret-key"):
        assert (up.local / secret).read_text().strip() not in log


def test_secrets_and_sockets_are_for_their_owner_alone(up):
    names = ("stack.json", "secret-key", "admin-password", "login.json", "valkey-bus/valkey.conf")
    sockets = (published(up)["environment"]["PROTIPP_SUPERVISOR"], up.local / "haproxy/admin.sock")

    for path in (*(up.local / name for name in names), *sockets):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600, path
    for folder in ("postgres", "run", "control", "haproxy"):
        assert stat.S_IMODE((up.local / folder).stat().st_mode) == 0o700, folder


def test_each_line_of_the_log_names_its_process(up):
    log = (up.local / "up.log").read_text().splitlines()
    names = {line.split("|")[0].split()[-1] for line in log}

    assert all(" | " in line for line in log)
    assert {"up", "postgres", "setup"} <= names


def test_a_second_up_says_who_runs_and_where(up):
    code, said = up.refused(PORT="1")

    assert code == 1
    assert len(said.strip().splitlines()) == 1
    assert f"pid {up.process.pid}" in said
    assert f"http://127.0.0.1:{up.port}/" in said


def test_a_command_beside_it_uses_its_servers(up):
    found = subprocess.run(
        [sys.executable, "-c", "from protipp import env; print(env.text('DATABASE_URL'))"],
        env=up.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert found.stdout.strip() == published(up)["environment"]["DATABASE_URL"]


def test_the_servers_of_up_are_safe_against_a_power_cut_and_count_statements(up):
    with psycopg.connect(published(up)["environment"]["DATABASE_URL"]) as connection:
        fsync, timing = connection.execute(
            "select current_setting('fsync'), current_setting('track_io_timing')"
        ).fetchone()
        connection.execute("select count(*) from pg_stat_statements")

    assert (fsync, timing) == ("on", "on")


@pytest.mark.parametrize("name", ["web-1", "live-1", "valkey-cache", "postgres", "haproxy"])
def test_a_killed_process_is_started_again_and_said_so(up, name):
    killed = up.noted()[name]
    its_children = psutil.Process(killed).children(recursive=True)
    os.kill(killed, signal.SIGKILL)

    up.until(lambda: up.noted().get(name, killed) != killed, within_s=20)
    up.until(lambda: up.status("/healthz") == 200, within_s=30)
    assert not up.still_there(its_children, within_s=10)
    assert f"{name} ended (killed by SIGKILL); it starts again" in up.text()


def test_the_balancer_can_have_a_node_and_give_it_back(up):
    asked = {"op": "start", "kind": "web", "id": "web-9"}
    first, again = ask(up, asked), ask(up, asked)

    assert first["ok"]
    assert again == first
    assert "web-9" in {node["id"] for node in ask(up, {"op": "list"})["nodes"]}
    up.until(lambda: listens(first["address"]), within_s=30)
    pid = up.noted()["web-9"]
    assert ask(up, {"op": "stop", "kind": "web", "id": "web-9"})["ok"]
    assert ask(up, {"op": "stop", "kind": "web", "id": "web-9"})["ok"]
    up.until(lambda: not psutil.pid_exists(pid), within_s=10)
    assert "web-9" not in up.noted()


def nodes(up):
    with redis.Redis.from_url(published(up)["environment"]["REDIS_URL"]) as bus:
        told = json.loads(bus.get("balancing:status") or '{"nodes": []}')
    return {node["id"]: node for node in told["nodes"]}


def connections_of(up, node_id):
    with psycopg.connect(published(up)["environment"]["DATABASE_URL"]) as connection:
        return connection.execute(
            "select count(*) from pg_stat_activity where application_name = %s",
            [f"protipp {node_id}"],
        ).fetchone()[0]


def test_a_spare_waits_without_the_database_and_works_once_it_is_wanted(up):
    def waiting():
        return next((node for node in nodes(up).values() if node["state"] == "spare"), None)

    def is_asked():
        up.status(f"/nothing?{time.time_ns()}")
        return connections_of(up, spare["id"])

    up.until(lambda: "web-9" not in nodes(up), within_s=30)
    spare = up.until(waiting, within_s=120)
    assert listens(spare["address"])
    assert connections_of(up, spare["id"]) == 0
    working = [n for n in nodes(up).values() if n["kind"] == "web" and n["state"] != "spare"]
    up.command("scale", f"web={len(working) + 1}")
    try:
        up.until(lambda: nodes(up).get(spare["id"], spare)["state"] == "up", within_s=30)
        up.until(is_asked, within_s=30)
    finally:
        up.command("scale", "--auto")


@pytest.mark.parametrize(
    "asked",
    [
        {"op": "restart"},
        {"op": "start", "kind": "database", "id": "web-8"},
        {"op": "start", "kind": "web", "id": "../web"},
        {"op": "start", "kind": "web", "id": "postgres"},
        ["start"],
    ],
)
def test_a_request_that_cannot_be_is_refused_with_what_can(up, asked):
    answer = ask(up, asked)

    assert not answer["ok"]
    assert "must" in answer["error"]


def test_no_request_ends_what_is_no_node(up):
    ask(up, {"op": "stop", "kind": "web", "id": "postgres"})

    assert "postgres" in up.noted()


def test_after_a_kill_the_next_up_cleans_up_and_keeps_the_data(up):
    """The last of those that share a stack: it ends it."""
    stack = up if up.process.poll() is None else up.start()
    with psycopg.connect(published(stack)["environment"]["DATABASE_URL"]) as connection:
        connection.execute("create table if not exists kept as select 42 as answer")
    everyone = stack.everyone()
    stack.process.kill()
    stack.process.wait()

    stack.start()
    assert not stack.still_there(everyone, within_s=5)
    with psycopg.connect(published(stack)["environment"]["DATABASE_URL"]) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)

    everyone = stack.everyone()
    took_s = stack.end(signal.SIGTERM)
    assert took_s < 5
    assert stack.process.returncode == 0
    assert not stack.still_there(everyone, within_s=0.5)
    assert not (stack.local / "stack.json").exists()


def test_ctrl_c_during_the_start_ends_all_too(new_up):
    stack = new_up()
    with stack.output.open("ab") as output:
        stack.process = subprocess.Popen(
            stack.argv, stdout=output, stderr=output, env=stack.environment
        )
    stack.until(lambda: "migrating the database" in stack.text())
    everyone = stack.everyone()

    assert stack.end(signal.SIGINT) < 5
    assert not stack.still_there(everyone, within_s=0.5)


def test_a_server_that_does_not_start_is_named_and_leaves_nothing_running(new_up):
    stack = new_up()
    (stack.local / "postgres").mkdir(mode=0o700)
    (stack.local / "postgres" / "PG_VERSION").write_text("9.6\n")

    code, said = stack.refused()
    assert code == 1
    last = [line for line in said.splitlines() if "failed" in line][-1]
    assert "postgres failed" in last
    assert "DATABASE_URL" in last
    assert json.loads((stack.local / "processes.json").read_text()) == []


def test_a_taken_port_is_named(new_up):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = new_up().refused(PORT=str(port))

    assert code == 1
    assert len(said.strip().splitlines()) == 1
    assert f"Port {port} of 127.0.0.1 cannot be used" in said
    assert f"pid {os.getpid()}" in said


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"DATABASE_URL": "mysql://127.0.0.1/odds"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/odds"}, "DATABASE_URL"),
        ({"REDIS_URL": "redis://:hidden@127.0.0.1:1/0"}, "REDIS_URL"),
        ({"CACHE_URL": "nonsense"}, "CACHE_URL"),
        ({"PORT": "eighty"}, "PORT"),
        ({"BIND": "everywhere"}, "BIND"),
        ({"DEBUG": "1", "BIND": "0.0.0.0"}, "DEBUG"),
    ],
    ids=["engine", "postgres-away", "bus-away", "no-url", "port", "bind", "debug-for-strangers"],
)
def test_a_wrong_setting_is_named_in_one_line(new_up, environment, named):
    code, said = new_up().refused(**environment)

    assert code == 1
    assert len(said.strip().splitlines()) == 1
    assert named in said
    assert "hidden" not in said
