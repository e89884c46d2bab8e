"""What `manage.py up` was asked for, read from the environment and refused by name."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import redis

from protipp import env
from protipp.stack.errors import StackError
from protipp.stack.ports import is_free

CONNECT_WITHIN_S = 3
OLDEST_POSTGRESQL = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    port: int
    bind: str
    local: Path
    source: str
    """Which feed runs: simulate, the-odds-api, or none."""
    given: Mapping[str, str]
    """The servers that are not ours to start: setting -> URL."""
    edge: bool = False
    """Whether a Varnish and an S3 of our own run beside the site."""

    @property
    def site_url(self) -> str:
        """Return where this machine reaches the site, whatever people call it."""
        anywhere = ipaddress.ip_address(self.bind).is_unspecified
        host = "127.0.0.1" if anywhere else f"[{self.bind}]" if ":" in self.bind else self.bind
        return f"http://{host}:{self.port}"


def read(
    source: str, environment: Mapping[str, str] = os.environ, *, edge: bool = False
) -> Options:
    """Return the options, after a look at every port and server that they name."""
    options = Options(
        port=_port(environment.get("PORT") or "8000"),
        bind=_bind(environment.get("BIND") or "127.0.0.1"),
        local=env.LOCAL_DIR.resolve(),
        source=source,
        edge=edge,
        given={
            name: environment[name]
            for name in ("DATABASE_URL", "CACHE_URL", "REDIS_URL")
            if environment.get(name)
        },
    )
    env.sections("PERFORMANCE", {})
    if env.flag("DEBUG") and not ipaddress.ip_address(options.bind).is_loopback:
        raise StackError(
            f"DEBUG is on and BIND is {options.bind}: error pages would show settings to "
            "strangers. Unset DEBUG, or leave BIND at 127.0.0.1."
        )
    return options


def check(options: Options) -> None:
    """Raise StackError for a taken port or a given server that does not answer within 3 s."""
    if not is_free(options.bind, options.port):
        raise StackError(
            f"Port {options.port} of {options.bind} cannot be used{_holder(options.port)}. "
            f"Set PORT to another, such as PORT={options.port + 1}."
        )
    for name, url in options.given.items():
        try:
            _ask_postgres(url) if name == "DATABASE_URL" else _ask_redis(url)
        except (psycopg.Error, redis.RedisError, ValueError, OSError) as error:
            raise StackError(
                f"{name} is {shown(url)}, and that does not work: {_in_one_line(error)}. "
                f"Correct it, start that server, or unset {name} for a local one."
            ) from error


def shown(url: str) -> str:
    """Return a URL without its password.

    >>> shown("redis://:secret@127.0.0.1:6379/0")
    'redis://:***@127.0.0.1:6379/0'
    """
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".?")


def _port(value: str) -> int:
    if not value.isdigit() or not 1 <= int(value) <= 65_535:
        raise StackError(f"PORT is {value!r}; it must be a number from 1 to 65535.")
    return int(value)


def _bind(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        raise StackError(
            f"BIND is {value!r}; it must be an IP address, such as 127.0.0.1 or 0.0.0.0."
        ) from None


def _holder(port: int) -> str:
    """Name the process that listens on a port, if we may see it."""
    try:
        for found in psutil.net_connections("tcp"):
            address = found.laddr or ("", 0)
            if found.status == psutil.CONN_LISTEN and address[1] == port and found.pid:
                return f": {psutil.Process(found.pid).name()} (pid {found.pid}) listens there"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        pass
    return ""


def _ask_postgres(url: str) -> None:
    with psycopg.connect(url, connect_timeout=CONNECT_WITHIN_S) as connection:
        version = connection.info.server_version // 10_000
    if version < OLDEST_POSTGRESQL:
        raise ValueError(f"it is PostgreSQL {version}, and {OLDEST_POSTGRESQL} is needed")


def _ask_redis(url: str) -> None:
    client = redis.Redis.from_url(
        url, socket_timeout=CONNECT_WITHIN_S, socket_connect_timeout=CONNECT_WITHIN_S
    )
    try:
        client.ping()
    finally:
        client.close()
