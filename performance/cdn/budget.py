"""How many purges by URL an edge is sent, and what is sent instead beyond that."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from performance.cdn.conf import conf
from performance.cdn.models import Purge

SITE = "site"
"""The tag of every public answer: a soft purge of everything."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a purge will name, and what was made of the request to get there."""

    urls: list[str]
    tags: list[str]
    note: str = ""


def section(path: str) -> str:
    """Return the tag that all public answers below a path's first segment carry.

    >>> section("/arbitrage/?sport=x"), section("/api/v1/odds"), section("/*"), section("/")
    ('section:/arbitrage', 'section:/api', 'section:/', 'section:/')
    """
    first = path.partition("?")[0].lstrip("/").partition("/")[0].rstrip("*")
    kept = "".join(
        letter for letter in first if letter.isascii() and (letter.isalnum() or letter in "_.-")
    )
    return f"section:/{kept[:64]}"


def within(provider: str, urls: Sequence[str], tags: Sequence[str]) -> Wanted:
    """Return the purge as it is to be sent: its URLs, or their sections once they are too many.

    Edges limit purges by URL, and some bill them. A section holds at least its URLs, so more is
    fetched anew than was asked for, and nothing stays that should go. One query.
    """
    if not urls:
        return Wanted([], list(tags))
    recent = Purge.objects.filter(
        provider=provider, created_at__gt=timezone.now() - datetime.timedelta(minutes=1)
    ).exclude(urls=[])
    spent = sum(len(row) for row in recent.values_list("urls", flat=True))
    budget = conf().urls_per_minute
    if spent + len(urls) <= budget:
        return Wanted(list(urls), list(tags))
    sections = sorted({section(url) for url in urls})
    if any(tag == "section:/" for tag in sections):
        sections = [SITE]
    note = (
        f"{len(urls)} URLs became {len(sections)} tag{'s' * (len(sections) != 1)}: "
        f"{spent} of {budget} URLs were spent in the last minute."
    )
    return Wanted([], sorted({*tags, *sections}), note)
