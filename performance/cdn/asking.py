"""Asking the edge as a browser would: to look, to read back after a purge, and to fill it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from performance.cdn import counters
from performance.cdn.cache_status import edge_hit
from performance.cdn.conf import conf

AT_ONCE = 8
READ_BACK_WITHIN_S = 5.0
PAUSE_S = 0.25
BROWSER = {"Accept-Encoding": "br, gzip", "User-Agent": "ProTipp edge check"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the edge gave for one path."""

    path: str
    status: int | None
    """None when there was no answer."""
    hit: bool | None
    age_s: int
    size_bytes: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Whether a path is new at the edge since a purge."""

    path: str
    fresh: bool
    detail: str


def addresses() -> Sequence[str]:
    """Return where the edge answers: its public address, else each Varnish."""
    return (conf().base_url,) if conf().base_url else conf().varnish_urls


def ask(client: httpx.Client, address: str, path: str) -> Answer:
    """Ask one edge for one path; never raises."""
    try:
        answer = client.get(address.rstrip("/") + path, headers=BROWSER)
    except httpx.HTTPError as error:
        return Answer(path, None, None, 0, 0, str(error) or type(error).__name__)
    age = answer.headers.get("age", "")
    hit = edge_hit(answer.headers)
    counters.seen(hit)
    size_bytes = int(answer.headers.get("content-length") or len(answer.content))
    return Answer(path, answer.status_code, hit, int(age) if age.isdigit() else 0, size_bytes)


def read_back(paths: Iterable[str], purged_at: float) -> list[ReadBack]:
    """Ask every edge for the paths until each is newer than the purge, 5 s at most.

    `purged_at` is Unix time. A path that ends in `*` cannot be asked for and is left out. Asking
    is what makes a softly purged answer new, so the first old one is not the last word.
    """
    found = []
    with httpx.Client(timeout=conf().timeout_s, follow_redirects=False) as client:
        for address in addresses():
            for path in paths:
                if not path.endswith("*"):
                    found.append(_read_back(client, address, path, purged_at))
    return found


def _read_back(client: httpx.Client, address: str, path: str, purged_at: float) -> ReadBack:
    deadline = time.monotonic() + READ_BACK_WITHIN_S
    while True:
        answer = ask(client, address, path)
        since_s = time.time() - purged_at
        if answer.status is None:
            return ReadBack(path, False, f"no answer ({answer.error})")
        if answer.hit is None:
            return ReadBack(path, False, "it does not say whether it is old")
        if not answer.hit or answer.age_s <= since_s:
            return ReadBack(path, True, f"{answer.status}, {answer.age_s} s old")
        if time.monotonic() > deadline:
            return ReadBack(path, False, f"still {answer.age_s} s old, from before the purge")
        time.sleep(PAUSE_S)


def warm(paths: Sequence[str]) -> Iterator[Answer]:
    """Ask every edge for the paths, 8 at a time, so that the next visitor finds them there."""
    with (
        httpx.Client(timeout=conf().timeout_s, follow_redirects=False) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        wanted = [(address, path) for address in addresses() for path in paths]
        yield from pool.map(lambda one: ask(client, *one), wanted)
