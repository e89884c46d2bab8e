"""What the proxy must know beside the nodes, and what its file could not hold. Pure."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from performance.balancing.errors import BalancingError

LONGEST_SOCKET_PATH = 90
"""sun_path holds 107 bytes, and HAProxy adds a suffix of its own while it binds."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the proxy must know beside the nodes."""

    port: int
    directory: Path
    """Holds haproxy.cfg, admin.sock, master.sock and the sorry pages."""
    bind: str = "127.0.0.1"
    stats_port: int | None = None
    """On loopback; None leaves HAProxy's own page and /metrics out."""
    hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]")
    """As Django's ALLOWED_HOSTS: exact names, `.example.com` with its subdomains, or `*`."""
    session_cookie: str = "sessionid"
    static_url: str = "/static/"
    secure: bool = False
    """True when people reach the site by https, which ends before this proxy."""
    edge: str = ""
    """Address and port of a Varnish that answers what may be shared; empty: none."""
    origin_port: int | None = None
    """The door on loopback by which the edge fetches; needed with `edge`."""

    @property
    def config_path(self) -> Path:
        return self.directory / "haproxy.cfg"

    @property
    def socket_path(self) -> Path:
        return self.directory / "admin.sock"

    @property
    def master_path(self) -> Path:
        return self.directory / "master.sock"


def refuse_unusable(site: Site) -> None:
    if not 1 <= site.port <= 65_535:
        raise BalancingError(f"The proxy's port is {site.port}; it must be 1 to 65535.")
    try:
        ipaddress.ip_address(site.bind)
    except ValueError:
        raise BalancingError(
            f"The proxy's bind address is {site.bind!r}; it must be an IP address, such as "
            "127.0.0.1 or 0.0.0.0."
        ) from None
    if site.edge and (not site.origin_port or not re.fullmatch(r"[0-9a-z.\-]+:\d+", site.edge)):
        raise BalancingError(
            f"The edge is {site.edge!r} with origin port {site.origin_port}; it must be host:port, "
            "and the port must be given. Set PROTIPP_EDGE and PROTIPP_ORIGIN_PORT."
        )
    folder = str(site.directory)
    if not site.directory.is_absolute() or re.search(r"[^\w./ +:@-]", folder):
        raise BalancingError(
            f"The proxy's folder is {folder!r}; it must be an absolute path of letters, digits, "
            "spaces and . / + : @ _ - only. Set PROTIPP_HAPROXY_DIR."
        )
    if len(os.fsencode(site.socket_path)) > LONGEST_SOCKET_PATH:
        raise BalancingError(
            f"{site.socket_path} is too long for a Unix socket (at most {LONGEST_SOCKET_PATH} "
            "bytes). Set PROTIPP_HAPROXY_DIR to a shorter folder."
        )
    for name in (site.session_cookie, *(host.strip("[]*").replace(":", "") for host in site.hosts)):
        if name and not _NAME.fullmatch(name):
            raise BalancingError(f"{name!r} cannot stand in haproxy.cfg: letters, digits, . _ -")
