"""What the proxy itself answers when no node can: a page for people, JSON for programs. Pure.

A page holds no script, no inline style and nothing of the request, so it obeys the same
Content-Security-Policy as the rest; without the stylesheet it still reads.
"""

from __future__ import annotations

import json

RETRY_AFTER_S = {408: 1, 429: 10, 502: 1, 503: 2, 504: 2}

_SAYS = {
    400: ("Bad request", "This request could not be understood."),
    403: ("Refused", "This request is not allowed."),
    404: ("Not found", "There is nothing at this address."),
    413: ("Too large", "This request is larger than this site takes."),
    421: ("Unknown site", "No site of that name lives here."),
    429: ("Too many requests", "Please wait a few seconds and try again."),
    502: ("No answer", "The answer broke off. It may or may not have happened; please look first."),
    503: ("Busy", "All places are taken for a moment. Please try again in a few seconds."),
    504: ("Too slow", "The answer took too long. Please try again."),
}
_REASONS = {
    400: "bad_request", 403: "refused", 404: "not_found", 413: "too_large", 421: "unknown_host",
    429: "rate_limited", 502: "node_lost", 503: "no_free_node", 504: "node_too_slow",
}  # fmt: skip
STATUSES = tuple(_SAYS)


def page(status: int) -> str:
    """Return the HTML of one status, on one line."""
    title, text = _SAYS[status]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="dark light">'
        f"<title>{title} · ProTipp</title>"
        '<link rel="stylesheet" href="/static/performance/css/tokens.css"></head>'
        f'<body><main class="sorry"><h1>{title}</h1><p>{text}</p></main></body></html>'
    )


def body(status: int) -> str:
    """Return the JSON of one status, with a reason that programs can tell apart."""
    title, text = _SAYS[status]
    answer: dict[str, object] = {"error": title, "detail": text, "reason": _REASONS[status]}
    if status in RETRY_AFTER_S:
        answer["retry_after_s"] = RETRY_AFTER_S[status]
    return json.dumps(answer, ensure_ascii=False)
