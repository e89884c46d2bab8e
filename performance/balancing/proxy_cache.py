"""What the proxy keeps of nodes' answers, and who of a crowd asks for the next one. Pure.

HAProxy's own cache makes a herd each second: it counts whole seconds, so that all it keeps ends at
the same moment, and whoever asks until the next answer is there is sent on. Here one request for
each address goes to a node about once a second, each address at moments of its own, and its answer
replaces the one that all others are given meanwhile. This is `stale-while-revalidate` of RFC 5861,
but for the one who asks: nobody waits in the background.
"""

from __future__ import annotations

from performance.balancing.conf import BalancingConf
from performance.balancing.site import Site

GRACE_S = 2
"""How long an answer may be given beyond its time while a node is asked, if it allows that."""
EARLIEST, SPREAD = 0.7, 0.3
"""From this share of its time on an answer is asked for again, and how far addresses differ."""
_FORGOTTEN_MS = 10_000
_PUBLIC = "!{ var(txn.asset) -m bool } { var(txn.shared) -m bool }"
_CROWD = "{ var(txn.crowd) -m bool }"
_LONGER = "s-maxage="


def keeps(site: Site, options: BalancingConf) -> bool:
    """Whether this proxy keeps answers: not where an edge does, which hears of purges."""
    return options.proxy_cache and not site.edge


def caches(options: BalancingConf) -> list[str]:
    return [
        "cache micro",
        "  total-max-size 32",
        "  max-object-size 524288",
        f"  max-age {options.micro_cache_s + GRACE_S}",
        "  process-vary on",
        "",
        # Nothing is ever in it: looking there gives a request the name under which its answer is
        # stored, which only looking does, and in `micro` it would be found.
        "cache names",
        "  total-max-size 1",
        "  process-vary on",
        "",
        "cache assets",
        "  total-max-size 64",
        "  max-object-size 2097152",
        "  max-age 86400",
        "  process-vary on",
        "",
        "backend asked",
        f"  stick-table type integer size 100k expire {_FORGOTTEN_MS}ms",
        "",
    ]


def from_cache(site: Site, options: BalancingConf) -> list[str]:
    """Return the rules that answer from the cache.

    They must stand here and not in the backend: a hit ends the frontend's part and skips the
    backend's, where those who find a long queue are sent away. In one list the next rule would
    still be asked, and a crowd would be refused what lies ready.
    """
    if not keeps(site, options):
        return []
    earliest_ms = round(options.micro_cache_s * 1000 * EARLIEST)
    spread_ms = round(options.micro_cache_s * 1000 * SPREAD)
    return [
        "  http-request cache-use assets if { var(txn.asset) -m bool } { var(txn.shared) -m bool }",
        # One number for what is asked and how it may be packed, as the cache tells answers apart.
        "  http-request set-var(txn.ask) req.hdr(Accept-Encoding),xxh32",
        "  http-request set-var(txn.ask) url32,xor(txn.ask)",
        f"  http-request set-var(txn.own_ms) var(txn.ask),mod({spread_ms}),add({earliest_ms})",
        # Another asked a node for it so lately that its answer will do, or is on its way.
        f"  http-request set-var(txn.crowd) bool(true) if {_PUBLIC} "
        f"{{ var(txn.ask),table_idle(asked,{_FORGOTTEN_MS}),sub(txn.own_ms) -m int lt 0 }}",
        f"  http-request cache-use micro if {_CROWD}",
        f"  http-request cache-use names if !{_CROWD} {_PUBLIC}",
        f"  http-request track-sc2 var(txn.ask) table asked if !{_CROWD} {_PUBLIC}",
        # A 304 cannot be stored, so a miss must be asked for whole, or nothing is ever kept.
        "  http-request del-header If-None-Match if { var(txn.shared) -m bool }",
        "  http-request del-header If-Modified-Since if { var(txn.shared) -m bool }",
    ]


def into_cache(site: Site, options: BalancingConf) -> list[str]:
    if not keeps(site, options):
        return []
    public = (
        "{ var(txn.shared) -m bool } { res.hdr(Cache-Control) -m sub public } "
        "!{ res.hdr(Set-Cookie) -m found } !{ res.hdr(Vary) -i -m sub cookie }"
    )
    immutable = "{ res.hdr(Cache-Control) -m sub immutable }"
    lasting = f"max-age=[1-9].*stale-while-revalidate=([{GRACE_S}-9]|[1-9][0-9])"
    longer_s = options.micro_cache_s + GRACE_S
    return [
        f"  http-response cache-store assets if {public} {immutable} {{ var(txn.asset) -m bool }}",
        # HAProxy keeps by s-maxage before max-age; what it gives to clients has none of ours.
        f"  http-response replace-header Cache-Control '(.*)' '\\1, {_LONGER}{longer_s}' "
        f"if {public} {_PUBLIC} {{ res.fhdr(Cache-Control) -m reg '{lasting}' }} "
        f"!{{ res.hdr(Cache-Control) -m sub {_LONGER} }}",
        f"  http-response cache-store micro if {public} !{{ var(txn.asset) -m bool }}",
        '  http-response add-header Cache-Status "proxy; hit" if { res.cache_hit }',
    ]


def out_of_cache(site: Site, options: BalancingConf) -> list[str]:
    """Return the rules for every answer that leaves, from the cache or from a node."""
    if not keeps(site, options):
        return []
    longer = f", {_LONGER}{options.micro_cache_s + GRACE_S}"
    return [
        f"  http-after-response replace-header Cache-Control '(.*){longer}$' '\\1' if {_PUBLIC}"
    ]
