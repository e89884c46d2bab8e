"""The proxy's whole configuration, rendered from the list of nodes. `render` is pure.

The part above the servers changes only with the settings; its digest is in the `description`
that the running proxy tells, so the reconciler knows when a reload is really needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from performance.balancing import privilege, sorry
from performance.balancing.conf import BalancingConf
from performance.balancing.edge import edge_frame
from performance.balancing.errors import ProxyConfigRefused
from performance.balancing.frontend import (
    by_map,
    frontend,
    retry_after,
    shedding,
)  # fmt: skip
from performance.balancing.nodes import Node, check_node
from performance.balancing.proxy_cache import caches
from performance.balancing.site import Site, refuse_unusable

CHECK_TIMEOUT_S = 10
BACKENDS = {"web": ("web", "web_panic"), "live": ("live",)}
"""Where a node of each kind stands; the panic twin has no checks."""
_CONSISTENT = "  hash-type consistent"
"""A node that leaves moves its own share only."""
_SPILLS = "  hash-balance-factor 150"
"""One that has half more than the mean spills over. Never for sessions: of two nodes with a single
request between them, the one that works on it has more than that already."""
BALANCE = {
    "leastconn": ["  balance leastconn"],
    "random(2)": ["  balance random(2)"],
    "roundrobin": ["  balance roundrobin"],
    "weighted": ["  balance roundrobin"],
    "source": ["  balance source", _CONSISTENT, _SPILLS],
    "session": ["  balance hash var(txn.spread)", _CONSISTENT],
}
"""The lines of each policy: only algorithms to which servers can be added at run time."""


def render(site: Site, nodes: Iterable[Node], options: BalancingConf, token: int = 0) -> str:
    """Return the text of haproxy.cfg for these nodes; the same nodes give the same text.

    `token` is the leader's fencing token, written into the first line. Raises NodeRefused for a
    node that cannot be, BalancingError for a folder or name that HAProxy could not take.
    """
    refuse_unusable(site)
    frame = _frame(site, options)
    only_by_reload = frame + repr(_heads(site, options))
    digest = hashlib.sha256(only_by_reload.encode()).hexdigest()[:16]
    believed = [check_node(node, options.node_networks) for node in nodes]
    believed.sort(key=lambda node: (node.kind, node.id))
    return (
        f"# Written by ProTipp's balancer, token {token}: do not edit, change PERFORMANCE.\n"
        + frame.replace("@DIGEST@", digest)
        + _backends(site, believed, options)
    )


def digest_of(text: str) -> str:
    """Return the digest of the part that only a reload can change."""
    found = re.search(r"^  description protipp-([0-9a-f]{16})$", text, re.MULTILINE)
    return found[1] if found else ""


def server_words(node: Node, options: BalancingConf, *, panic: bool) -> str:
    """Return what follows the name on a `server` line, and in `add server` alike."""
    words = f"{node.address} maxconn {node.slots} weight {node.share(panic=panic)}"
    if panic:
        return words
    return (
        f"{words} check inter 500ms fastinter 100ms downinter 500ms fall 2 rise 1 "
        "observe layer4 error-limit 3 on-error mark-down slowstart 2s"
    )


def _frame(site: Site, options: BalancingConf) -> str:
    threads = min(max(1, (os.cpu_count() or 1) // 2), 4)  # the nodes have the other half
    return "\n".join(
        [
            *_global(site, options, threads),
            *_defaults(options),
            *caches(options),
            *_tables(),
            *frontend(site, options),
            *_stats(site),
            *edge_frame(site),
            "",
        ]
    )


def _global(site: Site, options: BalancingConf, threads: int) -> list[str]:
    return [
        "global",
        "  description protipp-@DIGEST@",
        "  default-path config",  # sorry.map stands beside this file
        f"  maxconn {options.max_connections}",
        "  no strict-limits",
        "  fd-hard-limit 20000",
        f"  nbthread {threads}",
        f'  stats socket "{site.socket_path}" mode 600 level admin expose-fd listeners',
        "  stats timeout 30s",
        "  hard-stop-after 60s",
        "",
    ]


def _defaults(options: BalancingConf) -> list[str]:
    answers = [
        f'  http-error status {status} content-type "text/html; charset=utf-8" '
        f'lf-string "{by_map(status)}"{retry_after(status)}'
        for status in (502, 503, 504)
    ]
    return [
        "defaults",
        "  mode http",
        "  option http-keep-alive",
        "  option http-ignore-probes",  # a browser connects ahead of time, and need not be told 408
        # Only what was read whole can be sent again, and a slow body holds no node's thread.
        "  option http-buffer-request",
        "  option abortonclose",  # a client who left gives up its place in the queue
        "  option splice-auto",
        f"  timeout connect {options.connect_timeout_ms}ms",
        "  timeout client 60s",
        f"  timeout server {options.server_timeout_s}s",
        f"  timeout http-request {options.client_header_timeout_s}s",
        "  timeout http-keep-alive 60s",
        f"  timeout queue {_ms(options.queue_timeout_s)}",
        f"  timeout tunnel {options.tunnel_timeout_s}s",
        "  timeout check 2s",
        # More tries than a node may fail (error-limit), so the last ones always go elsewhere.
        "  retries 6",
        "  option redispatch 1",
        "  retry-on conn-failure empty-response",
        *answers,
        "",
    ]


def _tables() -> list[str]:
    return [
        "backend per_address",
        "  stick-table type ipv6 size 100k expire 60s "
        "store conn_cur,conn_rate(10s),http_req_rate(10s)",
        "",
        *privilege.table(),
    ]


def _stats(site: Site) -> list[str]:
    if site.stats_port is None:
        return []
    return [
        "frontend stats",
        f"  bind 127.0.0.1:{site.stats_port}",
        "  http-request use-service prometheus-exporter if { path /metrics }",
        "  stats enable",
        "  stats uri /",
        "  stats refresh 5s",
        "",
    ]


def _heads(site: Site, options: BalancingConf) -> dict[str, list[str]]:
    """Return what stands above the servers of each backend."""
    host = next((host.strip("*") for host in site.hosts if host.strip("*.")), "localhost")
    check = [
        "  option httpchk",
        f"  http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host {host.lstrip('.')}",
        "  http-check expect status 200",
    ]
    return {
        "web": [*BALANCE[options.policy], *check, *shedding(options)],
        "web_panic": ["  balance random(2)"],
        "live": ["  balance leastconn", *check],
    }


def _backends(site: Site, nodes: Sequence[Node], options: BalancingConf) -> str:
    heads = _heads(site, options)
    lines: list[str] = []
    for kind, names in BACKENDS.items():
        for name in names:
            servers = [
                f"  server {node.id} {server_words(node, options, panic=name.endswith('_panic'))}"
                for node in nodes
                if node.kind == kind
            ]
            lines += [f"backend {name}", *heads[name], *servers, ""]
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def sorry_map() -> str:
    """Return the map from `html-503` or `json-503` to the proxy's own answer, a line each."""
    lines = []
    for status in sorry.STATUSES:
        lines += [f"html-{status} {sorry.page(status)}", f"json-{status} {sorry.body(status)}"]
    return "\n".join(lines) + "\n"


def check(path: Path, binary: str) -> None:
    """Let `haproxy -c` read the file; raise ProxyConfigRefused with its words. At most 10 s."""
    try:
        done = subprocess.run(
            [binary, "-c", "-f", str(path)],
            capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProxyConfigRefused(str(path), str(error)) from error
    if done.returncode != 0:
        raise ProxyConfigRefused(str(path), done.stderr or done.stdout)


def install(site: Site, text: str, binary: str) -> bool:
    """Put the text in as haproxy.cfg if HAProxy takes it; True when the file changed.

    The new file is written beside the old one, checked, and renamed over it: whoever is killed
    in between leaves the old one whole. Costs about 50 ms, nothing when the text is the same.
    """
    site.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(site.directory / "sorry.map", sorry_map())
    if read_config(site) == text:
        return False
    draft = site.directory / f"haproxy.cfg.{os.getpid()}.new"
    try:
        draft.write_text(text)
        draft.chmod(0o600)
        check(draft, binary)
        draft.replace(site.config_path)
    finally:
        draft.unlink(missing_ok=True)
    return True


def read_config(site: Site) -> str:
    """Return the file as it stands, or an empty string when there is none."""
    try:
        return site.config_path.read_text()
    except FileNotFoundError:
        return ""


def write_atomically(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.write_text(text)
    draft.replace(path)
