"""The proxy's rules: who may come in, what nodes may believe, and what is kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from performance.balancing import privilege, sorry
from performance.balancing.conf import BalancingConf
from performance.balancing.edge import to_edge
from performance.balancing.proxy_cache import from_cache, into_cache, out_of_cache
from performance.balancing.site import Site


def frontend(site: Site, options: BalancingConf) -> list[str]:
    bind = f"[{site.bind}]" if ":" in site.bind else site.bind
    unlimited = _networks(options.unlimited_networks)
    return [
        "frontend site",
        f"  bind {bind}:{site.port} backlog 8192",
        "  option http-restrict-req-hdr-names reject",
        f"  tcp-request connection track-sc0 src,ipmask(32,64) table per_address{unlimited}",
        "  tcp-request connection reject if "
        f"{{ sc0_conn_cur(per_address) gt {options.connections_per_address} }}",
        "  http-request set-var(txn.answer) str(html)",
        "  http-request set-var(txn.answer) str(json) if { path_beg /api/ }",
        *_hosts(site.hosts),
        *_limits(options),
        *_metrics(options),
        *_shared(site),
        *from_cache(site, options),  # before all that only a node needs to know
        *_request_headers(site),
        *privilege.request_rules(site, options),
        "  use_backend live if { path_beg /ws/ /sse/ }",
        *to_edge(site),
        "  use_backend web_panic if { nbsrv(web) lt 1 }",
        "  default_backend web",
        *privilege.response_rules(),
        *into_cache(site, options),
        *out_of_cache(site, options),
        *_response_headers(),
        "",
    ]


def _hosts(hosts: Sequence[str]) -> list[str]:
    lines = ["  acl one_host req.fhdr_cnt(host) eq 1", *_refusals(400, "!one_host")]
    if "*" in hosts:
        return lines
    for host in hosts:
        name = host.lower()
        if name.startswith("."):
            lines.append(f"  acl known_host req.hdr(host),host_only,lower -m end {name}")
        lines.append(f"  acl known_host req.hdr(host),host_only,lower -m str {name.lstrip('.')}")
    return [*lines, *_refusals(421, "!known_host")]


def _limits(options: BalancingConf) -> list[str]:
    return [
        f"  acl too_many sc0_http_req_rate(per_address) gt {options.requests_per_10s}",
        f"  acl too_many sc0_conn_rate(per_address) gt {options.connections_per_10s}",
        *_refusals(429, "too_many"),
        *_refusals(413, f"{{ req.hdr_val(content-length) gt {options.max_body_bytes} }}"),
    ]


def _refusals(status: int, condition: str) -> list[str]:
    """Return two rules: JSON below /api/, a page elsewhere."""
    rule = f"  http-request return status {status} content-type"
    text = f'lf-string "{by_map(status)}"{retry_after(status)} if {condition}'
    return [
        f"{rule} application/json {text} {{ var(txn.answer) json }}",
        f'{rule} "text/html; charset=utf-8" {text}',
    ]


def _request_headers(site: Site) -> list[str]:
    """Clients' own words on who they are go out; what nodes may believe is set here."""
    scheme = "https" if site.secure else "http"
    return [
        "  http-request del-header Forwarded",
        "  http-request del-header X-Forwarded- -m beg",
        "  http-request del-header X-Real-IP",
        "  http-request del-header X-Request-Start",
        "  http-request del-header X-Original-URL",
        "  http-request del-header X-Rewrite-URL",
        "  http-request del-header X-HTTP-Method-Override",
        "  http-request del-header Proxy",
        "  http-request set-header X-Forwarded-For %[src]",
        f"  http-request set-header X-Forwarded-Proto {scheme}",
        "  http-request set-header X-Request-Start t=%[date(0,us)]",
        # What reached a node may have happened: only a client's key makes a second try safe.
        "  http-request disable-l7-retry unless METH_GET || METH_OPTIONS || "
        "{ req.hdr(Idempotency-Key) -m found }",
    ]


def _metrics(options: BalancingConf) -> list[str]:
    # Django decodes the path, so the rule has to: /%6detrics is /metrics to it.
    outside = _networks(options.metrics_networks).removeprefix(" unless ")
    condition = "{ path,url_dec -m beg /metrics }" + (f" !{outside}" if outside else "")
    return _refusals(404, condition)


def _shared(site: Site) -> list[str]:
    """Only a request that says nothing about who asks may be answered from the proxy's cache."""
    return [
        "  http-request set-var(txn.shared) bool(true) if METH_GET "
        "!{ req.hdr(Authorization) -m found } "
        f"!{{ req.cook({site.session_cookie}) -m found }} !{{ req.hdr(Range) -m found }} "
        "!{ path_beg /ws/ /sse/ }",
        f"  http-request set-var(txn.asset) bool(true) if {{ path_beg {site.static_url} }}",
    ]


def _response_headers() -> list[str]:
    """A node's own headers stand; the proxy's pages and a node's bare ones get the strict set."""
    policy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    return [
        "  http-after-response set-header X-Content-Type-Options nosniff",
        *(
            f"  http-after-response set-header {name} {value} if !{{ res.hdr({name}) -m found }}"
            for name, value in (
                ("Content-Security-Policy", f'"{policy}"'),
                ("X-Frame-Options", "DENY"),
                ("Referrer-Policy", "same-origin"),
            )
        ),
        "  http-after-response del-header Server",
        "  http-after-response set-header Content-Type application/json "
        "if { var(txn.answer) json } { status 502 503 504 }",
        "  http-after-response set-header Cache-Control no-store "
        "if { status 429 502 503 504 } !{ res.hdr(Cache-Control) -m found }",
    ]


def shedding(options: BalancingConf) -> list[str]:
    """Return the backend's first rules; the cache's are the frontend's, so a hit is never shed."""
    return _refusals(503, privilege.crowded(options)) if options.shed_above else []


def _networks(networks: Sequence[str]) -> str:
    return f" unless {{ src {' '.join(networks)} }}" if networks else ""


def retry_after(status: int) -> str:
    seconds = sorry.RETRY_AFTER_S.get(status)
    return f" hdr Retry-After {seconds}" if seconds else ""


def by_map(status: int) -> str:
    """`http-error` knows no conditions, so the text is found by a map when it is needed."""
    return f"%[var(txn.answer),concat(-{status}),map_str(sorry.map)]"
