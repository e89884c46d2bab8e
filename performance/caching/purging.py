"""Purging and warming what staff name: by tag, by family, by key, or everything; with a look ahead.

The page's acts and the commands both come here, so that they say and do the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from performance.caching import keytext, looking, stats, warming
from performance.caching import runtime as runtimes
from performance.caching.errors import StoreAway, UnknownFamily, UnusableTarget
from performance.caching.families import Family
from performance.caching.manager import cache
from performance.caching.warming import Warmed, Warming


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is meant. Exactly one of the four; UnusableTarget otherwise."""

    tags: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    key: str = ""
    """As people write it: `board["soccer_epl"]`."""
    everything: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("tags", "families", "key", "everything") if getattr(self, name)]
        if len(given) != 1:
            raise UnusableTarget(" and ".join(given))

    def chosen(self) -> list[Family[..., Any]]:
        """Return the families it is about: all of them for tags, which any may carry."""
        known = runtimes.families()
        if self.key:
            return [keytext.read_key(self.key)[0]]
        for name in self.families:
            if name not in known:
                raise UnknownFamily(name, sorted(known))
        return [known[name] for name in (self.families or sorted(known))]

    def __str__(self) -> str:
        if self.tags:
            return f"the tag{'s' * (len(self.tags) > 1)} {', '.join(self.tags)}"
        if self.families:
            return f"the famil{'ies' if len(self.families) > 1 else 'y'} {', '.join(self.families)}"
        return f"the key {self.key}" if self.key else "all families"


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a purge would touch, and what the readers after it would cost."""

    said: str
    entries: int | None
    """Stored values that it would touch; None when the store is away."""
    families: dict[str, int]


def foresee_purge(target: Target, *, soft: bool) -> Foresight:
    """Say what a purge would do, and do nothing. One bounded look at the store (`looking`)."""
    chosen = target.chosen()
    effect = _effect(target, soft)
    try:
        look = _look(target, chosen)
    except StoreAway as away:
        return Foresight(
            f"{effect} How much that is cannot be said: {away} Then the purge is kept, and sent "
            "when the store is back.",
            None,
            {},
        )
    return Foresight(f"{effect} {_extent(look)}{_cost(look)}", look.total, look.found)


def purge(target: Target, *, soft: bool) -> bool:
    """Do it; False when the store is away. Tags and families are then sent as soon as it is back.

    A key is removed whatever `soft` says: one value has no generation of its own.
    """
    if target.key:
        family, arguments = keytext.read_key(target.key)
        return cache.purge_key(family.name, *arguments)
    if target.tags:
        return cache.invalidate(*target.tags, hard=not soft)
    return cache.purge(*target.families, hard=not soft)


def warming_plan(target: Target, *, limit: int) -> list[Warming]:
    """Return what is to be computed for `target`, at most `limit` values a family.

    Of tags those of the values worth warming that carry one; a key is warmed whether or not its
    family has a `warm`.
    """
    if target.key:
        family, arguments = keytext.read_key(target.key)
        return [Warming(family, arguments)]
    planned = warming.plan(target.chosen(), limit=limit)
    if not target.tags:
        return planned
    wanted = set(target.tags)
    return [one for one in planned if wanted.intersection(one.family.tags_of(one.arguments))]


def foresee_warming(target: Target, *, limit: int) -> str:
    """Say what warming would compute and about how long that takes; one read of the counters."""
    planned = warming_plan(target, limit=limit)
    if not planned:
        return f"Nothing of {target} is named as worth warming: no family's `warm` gives it."
    numbers: dict[str, int] = {}
    for one in planned:
        numbers[one.family.name] = numbers.get(one.family.name, 0) + 1
    took_s = _work_s(numbers)
    about = "" if took_s is None else f", about {took_s:.1f} s of work one after the other"
    return f"This would compute {_count(len(planned), 'value')} anew{about}: {_listed(numbers)}."


def warm_for(
    planned: Sequence[Warming], *, within_s: float, concurrency: int = 1
) -> Iterator[Warmed]:
    """Warm and yield outcomes until `within_s` are over; what runs then is finished."""
    give_up_at = time.monotonic() + within_s
    for outcome in warming.run(planned, concurrency=concurrency, force=True):
        yield outcome
        if time.monotonic() > give_up_at:
            return


def _look(target: Target, chosen: Sequence[Family[..., Any]]) -> looking.Look:
    if target.tags:
        return looking.by_tags(target.tags)
    if target.key:
        family, arguments = keytext.read_key(target.key)
        there = family.peek(*arguments).state != "miss"
        return looking.Look({family.name: 1} if there else {}, 1, True)
    return looking.by_family(frozenset(family.name for family in chosen))


def _effect(target: Target, soft: bool) -> str:
    if target.key:
        return f"{target.key} is removed, and computed when next asked for."
    if soft:
        return (
            f"What is under {target} becomes stale: the next reader of each value gets the old one "
            "while it is refreshed behind."
        )
    return f"What is under {target} is a miss from now on: the next reader of each value waits."


def _extent(look: looking.Look) -> str:
    seen = "all" if look.complete else f"the first {look.looked_at:,}"
    if not look.total:
        return f"Of {seen} stored values none is touched."
    return f"Of {seen} stored values {look.total:,} are touched ({_listed(look.found)})."


def _cost(look: looking.Look) -> str:
    took_s = _work_s(look.found)
    if took_s is None or not look.total:
        return ""
    return f" Computing all of them again takes about {took_s:.1f} s of loaders' work."


def _work_s(numbers: dict[str, int]) -> float | None:
    """Return how long the loaders take for so many values; None when that was never measured."""
    try:
        totals = stats.totals()
    except (redis.RedisError, OSError):
        return None
    known = [
        number * totals[name]["load_us"] / totals[name]["loads"] / 1e6
        for name, number in numbers.items()
        if totals.get(name, {}).get("loads")
    ]
    return sum(known) if known else None


def _listed(numbers: dict[str, int]) -> str:
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {number:,}" for name, number in ordered)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
