"""The proxy with an edge behind it: who is sent there, and the door by which it fetches. Pure."""

from __future__ import annotations

from performance.balancing.site import Site

EDGE_TIMEOUT_S = 10
"""An edge that hangs for so long is passed by: the origin is asked in its place."""


def to_edge(site: Site) -> list[str]:
    """Return the rule that sends there what may be shared; nothing without an edge."""
    return ["  use_backend edge if { var(txn.shared) -m bool }"] if site.edge else []


def edge_frame(site: Site) -> list[str]:
    """Return the edge's backend, and the door on loopback by which the edge fetches.

    The origin stands second and not as `backup`, which a retry reaches only once the edge counts
    as down: so a killed edge, or one that says 503 because it has only just started, costs a
    retry and no answer. What comes in by the door has passed the site's own rules already, and is
    kept in none of the proxy's caches: an answer from there would outlive a purge.
    """
    if not site.edge:
        return []
    return [
        "frontend origin",
        f"  bind 127.0.0.1:{site.origin_port} backlog 8192",
        "  http-request set-var(txn.answer) str(html)",
        "  http-request set-var(txn.answer) str(json) if { path_beg /api/ }",
        "  use_backend web_panic if { nbsrv(web) lt 1 }",
        "  default_backend web",
        "",
        "backend edge",
        "  balance first",  # the edge until it is full or failing; then the origin
        "  option httpchk GET /edge-ready",
        "  http-check expect status 200",
        "  timeout check 1s",
        # Only GETs come here. By `redispatch` each retry goes to the other one of the two.
        "  retries 3",
        f"  timeout server {EDGE_TIMEOUT_S}s",
        "  retry-on conn-failure empty-response junk-response response-timeout 503",
        # Slow or failing for a second: out. Well for three: back.
        f"  server edge {site.edge} check inter 500ms fastinter 200ms downinter 500ms "
        "fall 2 rise 6 observe layer4 error-limit 2 on-error mark-down maxconn 4000",
        f"  server origin 127.0.0.1:{site.origin_port}",
        "",
    ]
