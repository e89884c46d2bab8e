"""What every edge can be asked, and the arithmetic of their limits. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

OVERFLOW = "many"
"""The tag of answers that have more tags than an edge reads; every purge of tags names it too."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an edge did with a purge."""

    said: str
    """Its own words or numbers, for the ledger."""
    calls: int
    """Requests that it took, which is what most edges limit."""
    billed: int = 0
    """Items that the edge may send a bill for."""


class Provider(ABC):
    """One edge: its own headers, limits and errors, and no knowledge of a ledger."""

    name: ClassVar[str]
    can_soften: ClassVar[bool]
    """Whether it can expire what it holds instead of removing it."""
    price_usd: ClassVar[Decimal]
    """Of one billed item beyond `free_items`."""
    free_items: ClassVar[int]
    """Billed items a calendar month that cost nothing."""

    @abstractmethod
    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the response headers by which this edge learns an answer's tags."""

    @abstractmethod
    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        """Return the headers that tell this edge, and not browsers, how long it may keep it.

        `directives` are those of RFC 9213's CDN-Cache-Control; `cache_control` is for browsers.
        """

    @abstractmethod
    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        """Purge paths and tags. `reference` is the same when it is tried again.

        Raises ProviderRefused when trying again is useless (WrongCredentials when the key is why),
        ProviderUnreachable when it is not (LimitReached when it says to wait).
        """

    @abstractmethod
    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        """Forget everything that it holds of ours. Raises as `purge`."""


def fitted(tags: Sequence[str], *, most: int, limit_bytes: int, separator: str) -> str:
    """Join an answer's tags into one header, which never says less than it should.

    An edge reads only so many tags and drops the rest without a word, and then a purge of one of
    those would miss the answer. So what does not fit is replaced by OVERFLOW.

    >>> fitted(["a", "b", "c"], most=3, limit_bytes=99, separator=","), fitted(
    ...     ["a", "b", "c"], most=2, limit_bytes=99, separator=",")
    ('a,b,c', 'a,many')
    """
    whole = separator.join(tags)
    if len(tags) <= most and len(whole) <= limit_bytes:
        return whole
    kept: list[str] = []
    left_bytes = limit_bytes - len(OVERFLOW)
    for tag in tags[: most - 1]:
        left_bytes -= len(tag) + len(separator)
        if left_bytes < 0:
            break
        kept.append(tag)
    return separator.join([*kept, OVERFLOW])


def with_overflow(tags: Sequence[str]) -> list[str]:
    """Return the tags of a purge, and the one of answers that could not name all of theirs."""
    return [*tags, OVERFLOW] if tags else []


def packed(words: Iterable[str], limit_bytes: int) -> Iterator[str]:
    """Join words by spaces into lines of at most `limit_bytes`."""
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > limit_bytes:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    if line:
        yield line


def sliced(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def shared_max_age(directives: str, cache_control: str) -> dict[str, str]:
    """Say it to an edge that reads Cache-Control alone: `s-maxage` is for shared caches only."""
    for directive in directives.split(","):
        name, _, seconds = directive.strip().partition("=")
        if name == "max-age" and seconds.isdigit() and "public" in cache_control:
            return {"Cache-Control": f"{cache_control}, s-maxage={seconds}"}
    return {}
