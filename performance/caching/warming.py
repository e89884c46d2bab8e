"""Filling the cache before anyone asks: from beat, by command, and after a purge."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import redis
from django.db import connections

from performance.caching.asked import asked_within
from performance.caching.conf import conf
from performance.caching.copies import ticket
from performance.caching.families import Family
from performance.core.errors import PerformanceError

logger = logging.getLogger(__name__)

SOON_SHARE = 0.1
"""A value with less than this share of its time left is warmed again."""
SOON_ROUNDS = 1.2
"""And one that would run out before the next round of beat has come, and a little late."""


@dataclass(frozen=True, slots=True)
class Warming:
    """One value to have before it is asked for."""

    family: Family[..., Any]
    arguments: tuple[Any, ...]

    @property
    def key(self) -> str:
        return self.family.readable_key(self.arguments)


@dataclass(frozen=True, slots=True)
class Warmed:
    key: str
    error: str | None = None
    skipped: bool = False
    """True when it was fresh for long enough yet."""


def plan(families: Sequence[Family[..., Any]], *, limit: int) -> list[Warming]:
    """Return what the families' own `warm` names, at most `limit` a family, in their order.

    A family whose `warm` fails is logged and left out: the others are warmed all the same.
    """
    planned: list[Warming] = []
    for family in families:
        if family.warm is None:
            continue
        try:
            wanted = list(family.warm())[:limit]
        except Exception:
            logger.exception("The warm function of family %r failed; it is left out.", family.name)
            continue
        planned += [Warming(family, tuple(arguments)) for arguments in wanted]
    return planned


def in_use(planned: Sequence[Warming], *, within_s: float) -> list[Warming]:
    """Return what of a plan was asked for within so many seconds; all of it for 0, or when the
    bus does not say."""
    if not within_s:
        return list(planned)
    keys = [ticket(one.family, one.arguments).key for one in planned]
    try:
        asked = asked_within(keys, within_s)
    except (redis.RedisError, OSError) as error:
        logger.debug("All is warmed: the bus does not say what is read (%s)", error)
        return list(planned)
    return [one for one, was_asked in zip(planned, asked, strict=True) if was_asked]


def run(warmings: Sequence[Warming], *, concurrency: int, force: bool) -> Iterator[Warmed]:
    """Fill each in turn and yield its outcome; one failure never stops the rest.

    Without `force`, what stays fresh for a while yet is skipped. At once only `concurrency` run,
    each on a database connection of its own.
    """
    if concurrency <= 1:
        for warming in warmings:
            yield _one(warming, force)
        return
    with ThreadPoolExecutor(concurrency, thread_name_prefix="cache-warm") as pool:
        waiting: set[Future[Warmed]] = set()
        for warming in warmings:
            waiting.add(pool.submit(_one_and_close, warming, force))
            if len(waiting) >= concurrency * 2:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)


def _one_and_close(warming: Warming, force: bool) -> Warmed:
    try:
        return _one(warming, force)
    finally:
        connections.close_all()


def _one(warming: Warming, force: bool) -> Warmed:
    family = warming.family
    try:
        if not force:
            peek = family.peek(*warming.arguments)
            soon_s = max(family.policy.ttl_s * SOON_SHARE, conf().warm_every_s * SOON_ROUNDS)
            if peek.state == "fresh" and peek.fresh_for_s > soon_s:
                return Warmed(warming.key, skipped=True)
        family.refresh(*warming.arguments)
    except family.raises as error:
        return Warmed(warming.key, error=f"{type(error).__name__}: {error}")
    except PerformanceError as error:
        cause = error.__cause__ or error
        return Warmed(warming.key, error=f"{type(cause).__name__}: {cause}")
    return Warmed(warming.key)
