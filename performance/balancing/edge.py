"""The proxy with an edge behind it: who is sent there, and the door by which it fetches. Pure."""

from __future__ import annotations

from performance.balancing.site import Site


def to_edge(site: Site) -> list[str]:
    """Return the rule that sends there what may be shared; nothing without an edge."""
    return ["  use_backend edge if { var(txn.shared) -m bool }"] if site.edge else []


def edge_frame(site: Site) -> list[str]:
    """Return the edge's backend, and the door on loopback by which the edge fetches.

    The origin stands in as `backup`: a killed edge costs a retry and no answer. What comes in by
    the door has passed the site's own rules already, and is kept in none of the proxy's caches:
    an answer from there would outlive a purge.
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
        "  balance first",
        "  option httpchk GET /edge-health",
        "  http-check expect status 200",
        "  timeout check 1s",
        # A Varnish that is dying says 503 for what it had begun; only GETs come here.
        "  retry-on conn-failure empty-response 503",
        # Slow or failing for a second: out. Well for three: back.
        f"  server edge {site.edge} check inter 500ms fastinter 200ms downinter 500ms "
        "fall 2 rise 6 observe layer4 error-limit 2 on-error mark-down maxconn 4000",
        f"  server origin 127.0.0.1:{site.origin_port} backup",
        "",
    ]
