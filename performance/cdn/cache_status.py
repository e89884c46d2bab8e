"""What an answer's headers say about who gave it: RFC 9211, and what edges said before it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+')
_OLDER = ("cf-cache-status", "x-cache", "cdn-cache")
"""Cloudflare's, CloudFront's and Fastly's, Bunny's."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One cache on an answer's way."""

    cache: str
    hit: bool
    ttl_s: int | None
    """Seconds that it stays fresh, negative when it is stale; None when it does not say."""
    forwarded: str
    """Why it asked further, such as `uri-miss`; empty for a hit."""


def parse(header: str) -> list[Seen]:
    """Return the caches of a Cache-Status header, the one nearest to the origin first.

    What cannot be read is left out, as it comes from strangers.

    >>> [seen.cache for seen in parse('ProTipp; fwd=uri-miss; stored, edge; hit; ttl=-3')]
    ['ProTipp', 'edge']
    """
    found = []
    for member in _MEMBER.findall(header):
        name, *parameters = [part.strip() for part in _PARAMETER.findall(member)] or [""]
        values = dict(_pair(parameter) for parameter in parameters)
        if not name:
            continue
        ttl = values.get("ttl", "")
        found.append(
            Seen(
                cache=name.strip('"'),
                hit="hit" in values,
                ttl_s=int(ttl) if re.fullmatch(r"-?\d{1,15}", ttl) else None,
                forwarded=values.get("fwd", ""),
            )
        )
    return found


def edge_hit(headers: Mapping[str, str]) -> bool | None:
    """Return whether the edge answered from its own memory; None when it does not say."""
    if seen := parse(headers.get("cache-status", "")):
        return seen[-1].hit
    for name in _OLDER:
        if value := headers.get(name, ""):
            # "MISS, HIT" is one of a shield and one of the edge; the last is the nearest to us.
            return "hit" in value.lower().rsplit(",", 1)[-1]
    return None


def _pair(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip().lower(), value.strip().strip('"')
