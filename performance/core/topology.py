"""Where a Redis-compatible server is: one, one behind sentinels, or a cluster. Pure.

    redis://host:6379/0                                     rediss:// for TLS, unix:// for a socket
    redis+sentinel://host:26379,host:26379/service/0        the master that the sentinels name
    redis+cluster://host:6379,host:6379                     any of its nodes; it says the others

A user and a password stand before the first host, and hold for all; sentinels are asked without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

PLAIN = ("redis", "rediss", "unix")
SENTINEL_PORT = 26379
PORT = 6379


@dataclass(frozen=True, slots=True)
class Topology:
    kind: str
    """`plain`, `sentinel` or `cluster`."""
    url: str
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    """Of sentinels: what they call the master."""
    options: tuple[tuple[str, Any], ...] = ()
    """Keyword arguments for each connection: db, username, password, ssl."""


def parse(url: str, *, name: str) -> Topology:
    """Read a URL; ImproperlyConfigured, naming the setting `name`, for one that says nothing.

    >>> parse("redis+sentinel://a:1,b/odds/2", name="CACHE_URL").nodes
    (('a', 1), ('b', 26379))
    """
    scheme = url.partition("://")[0]
    if scheme in PLAIN:
        return Topology("plain", url)
    base, _, kind = scheme.partition("+")
    if base not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise ImproperlyConfigured(
            f"{name} begins with {scheme!r}; it must be one of: redis, rediss, unix, "
            "redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster."
        )
    split = urlsplit(url)
    login, at, hosts = split.netloc.rpartition("@")
    options = _login(login) if at else []
    if base == "rediss":
        options.append(("ssl", True))
    service, _, db = split.path.strip("/").partition("/")
    if kind == "sentinel":
        if not service:
            raise ImproperlyConfigured(
                f"{name} names no service; it must end as in redis+sentinel://host:26379/service/0."
            )
        options.append(("db", _number(db or "0", name, "database")))
    elif service not in ("", "0"):
        raise ImproperlyConfigured(f"{name} names database {service!r}; a cluster has only 0.")
    nodes = _nodes(hosts, SENTINEL_PORT if kind == "sentinel" else PORT, name)
    return Topology(kind, url, nodes, service if kind == "sentinel" else "", tuple(options))


def _login(login: str) -> list[tuple[str, Any]]:
    user, _, password = login.partition(":")
    found = [("username", unquote(user)), ("password", unquote(password))]
    return [(name, value) for name, value in found if value]


def _nodes(hosts: str, port: int, name: str) -> tuple[tuple[str, int], ...]:
    nodes = []
    for host in filter(None, hosts.split(",")):
        address, colon, own = host.rpartition(":")
        if not colon or host.endswith("]"):
            nodes.append((host.strip("[]"), port))
        else:
            nodes.append((address.strip("[]"), _number(own, name, "port")))
    if not nodes:
        raise ImproperlyConfigured(f"{name} names no host.")
    return tuple(nodes)


def _number(text: str, name: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ImproperlyConfigured(f"{name} has {what} {text!r}; it must be a whole number.")
    return int(text)
