"""Who goes first when nodes are full: staff and holders of a key, as a node said of them. Pure.

A session or a key counts once a node has said so (`X-Privileged` in an answer to it, which never
reaches the client). So nobody gains anything by inventing a cookie or a key, and the table holds
only those who are really privileged: their digests, for an hour after they were last seen.
"""

from __future__ import annotations

from performance.balancing.conf import BalancingConf
from performance.balancing.site import Site

HEADER = "X-Privileged"
TABLE = "privileged"


def table() -> list[str]:
    return [
        f"backend {TABLE}",
        "  stick-table type string len 64 size 20k expire 1h store gpc0",
        "",
    ]


def request_rules(site: Site, options: BalancingConf) -> list[str]:
    """Recognise the privileged, and say by what the `session` policy spreads."""
    session = f"req.cook({site.session_cookie})"
    rules = [
        f"  http-request set-var(txn.who) {session},sha2(256),hex if {{ {session} -m found }}",
        "  http-request set-var(txn.who) req.hdr(Authorization),sha2(256),hex "
        "if { req.hdr(Authorization) -m found }",
        f"  http-request set-var(txn.first) bool(true) if {{ var(txn.who),in_table({TABLE}) }}",
        # Lower goes first in the queue; everybody else has 0.
        "  http-request set-priority-class int(-100) if { var(txn.first) -m bool }",
    ]
    if options.policy == "session":
        rules += [
            f"  http-request set-var(txn.spread) {session}",
            "  http-request set-var(txn.spread) uuid if !{ var(txn.spread) -m found }",
        ]
    return rules


def response_rules() -> list[str]:
    return [
        f"  http-response track-sc1 var(txn.who) table {TABLE} "
        f"if {{ res.hdr({HEADER}) -m found }} {{ var(txn.who) -m found }}",
        f"  http-response del-header {HEADER}",
    ]


def crowded(options: BalancingConf) -> str:
    """Return the condition under which nobody in particular is sent away at once."""
    return f"{{ queue(web) gt {options.shed_above} }} !{{ var(txn.first) -m bool }}"
