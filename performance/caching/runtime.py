"""What one process holds for its caches: store, cells, flights, threads. Made when first used.

After a fork the child makes its own: threads and sockets do not survive one.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

from performance.caching import overrides, rules, stats, tracing, transactions
from performance.caching.asked import Notes
from performance.caching.coherence import Listener
from performance.caching.conf import conf
from performance.caching.errors import StoreAway
from performance.caching.flights import Flights
from performance.caching.followers import Followers
from performance.caching.keys import edge_tag
from performance.caching.memory import Cells
from performance.caching.policy import Override
from performance.caching.statements import tables
from performance.caching.store import RedisStore, Store
from performance.caching.workers import Workers
from performance.core import signals

logger = logging.getLogger(__name__)

TICK_S = 0.5
UNSENT_LIMIT = 10_000
MEMORY_ONLY = "memory:"
"""Before a tag that memories shall forget, and the store not."""


class Runtime:
    """`families` is the registry's own mapping: every family that this process knows."""

    def __init__(self, families: dict[str, Any], *, store: Store | None = None) -> None:
        self.families = families
        self.store: Store = store or RedisStore()
        self.cells = Cells()
        self.flights = Flights()
        self.workers = Workers(
            threads=conf().refresh_threads,
            queue=conf().refresh_queue,
            load_threads=conf().load_threads,
        )
        self.asked = Notes()
        self.clock: Callable[[], float] = time.time
        self.deaf = False
        """A test's switch: no change of a tag reaches this process."""
        self.overrides: dict[str, Override] = {}
        self._unsent: dict[str, tuple[bool, int]] = {}
        """By tag: hard or not, and a number that tells one request from a later one."""
        self._numbers = itertools.count()
        self._unsent_lock = threading.Lock()
        self._left_behind: deque[tuple[str, bytes]] = deque(maxlen=UNSENT_LIMIT)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self.store.breaker.on_recovery = self._wake.set
        self._follower: Followers | None = None
        self._keeper: threading.Thread | None = None

    # --- memory ---------------------------------------------------------------------------------

    @property
    def hearing(self) -> bool:
        """True while every change of a tag reaches this process, so that memory may answer."""
        return not self.deaf and (self._follower is None or self._follower.hearing)

    def memory_limit_s(self, memory_s: float) -> float:
        """Return how long an entry may live in memory now; 0 means not at all.

        While the store itself is away nobody can invalidate for us: memory goes on for a moment.
        """
        if self.hearing:
            return memory_s
        return min(memory_s, conf().alone_s) if self.store.breaker.is_open else 0.0

    def forget_tags(self, tags: Iterable[str]) -> None:
        self.cells.kill(tags)

    def heard(self, tags: Iterable[str]) -> None:
        """The store says that these have changed."""
        self.cells.kill(tag.removeprefix(MEMORY_ONLY) for tag in tags)

    def forget_all(self) -> None:
        self.cells.kill_all()
        for family in list(self.families.values()):
            family.memory.clear()

    # --- invalidation ---------------------------------------------------------------------------

    def generation_key(self, tag: str) -> str:
        return f"{conf().namespace}:g:{tag}"

    def invalidate(self, tags: Iterable[str], *, hard: bool) -> bool:
        """Give the tags new generations; False when the store is away, and then it is retried."""
        tags = list(dict.fromkeys(tags))
        self.forget_tags(tags)
        keys = [self.generation_key(tag) for tag in tags]
        try:
            with tracing.span("cache.invalidate", tags=tags, hard=hard):
                if hard:
                    self.store.harden(keys)
                else:
                    self.store.soften(keys)
        except StoreAway as error:
            logger.warning("Could not invalidate %d tags yet: %s", len(tags), error)
            self._keep_for_later(tags, hard)
            return False
        self.forget_tags(tags)  # what a reader fetched between the two lines above
        self._tell_edges(tags, soft=not hard)
        return True

    def distrust(self) -> None:
        """Invalidate everything: the store came back with an older state of itself."""
        logger.warning("The cache server came back with an older state: all of it is invalidated.")
        self.invalidate([family.own_tag for family in list(self.families.values())], hard=True)

    def poison(self, tags: Iterable[str], holder: bytes) -> None:
        """Keep the tags out of the cache until `committed`; StoreAway when that is impossible."""
        tags = list(tags)
        keys = [self.generation_key(tag) for tag in tags]
        self.store.poison(keys, holder, int(conf().poison_s * 1000))
        self.forget_tags(tags)

    def committed(self, hook: transactions.Invalidation) -> None:
        """Invalidate what a transaction has changed, and end its poison."""
        if hook.holder is not None:
            try:
                self.store.heal([self.generation_key(tag) for tag in hook.tags], hook.holder)
            except StoreAway as error:
                logger.warning("A poison ends by itself, %s later: %s", conf().poison_s, error)
        self.invalidate(hook.tags, hard=hook.hard)

    def _keep_poisons(self) -> None:
        """Prolong those of open transactions, and end those of rolled back ones."""
        try:
            for holder, tags in transactions.poisons():
                keys = [self.generation_key(tag) for tag in tags]
                self.store.poison(keys, holder, int(conf().poison_s * 1000))
            while transactions.rolled_back:
                holder, tags = transactions.rolled_back.popleft()
                self.store.heal([self.generation_key(tag) for tag in tags], holder)
        except StoreAway as error:
            logger.debug("The poisons wait for the store: %s", error)

    def _tell_edges(self, tags: Iterable[str], *, soft: bool) -> None:
        """Say which public copies are outdated, after the store: an edge that asks gets the new.

        Of the families' own tags those with cdn="public"; of all others each, because whose they
        are is known only by the arguments, and a feed's process never loads the families at all.
        """
        public = {family.own_tag for family in list(self.families.values()) if family.cdn}
        told = [tag for tag in tags if tag in public or not tag.startswith("family:")]
        if told:
            signals.invalidated.send_robust(type(self), tags=[*map(edge_tag, told)], soft=soft)

    def _keep_for_later(self, tags: list[str], hard: bool) -> None:
        with self._unsent_lock:
            for tag in tags:
                if len(self._unsent) < UNSENT_LIMIT or tag in self._unsent:
                    before, _ = self._unsent.get(tag, (False, 0))
                    self._unsent[tag] = (before or hard, next(self._numbers))

    def untold(self, tags: Iterable[str]) -> bool:
        """Return whether one of these was invalidated while the store was away, and it has not
        been told yet: what it has of them is not to be believed."""
        unsent = self._unsent
        return bool(unsent) and any(tag in unsent for tag in tags)

    def leave_behind(self, lease: str, token: bytes) -> None:
        """Note a lease that may be ours yet, since the store did not answer: it goes back later,
        or others would wait for somebody who is not computing any more."""
        self._left_behind.append((lease, token))

    def resend(self) -> None:
        """Send what could not be sent while the store was away; until then it stays untold."""
        with self._unsent_lock:
            unsent = dict(self._unsent)
        for hard in (True, False):
            tags = [tag for tag, (was_hard, _) in unsent.items() if was_hard is hard]
            if tags and self.invalidate(tags, hard=hard):
                with self._unsent_lock:
                    for tag in tags:
                        if self._unsent.get(tag) == unsent[tag]:
                            del self._unsent[tag]

    def _give_back(self) -> None:
        while self._left_behind:
            lease, token = self._left_behind[0]
            try:
                self.store.release(lease, token)
            except StoreAway as error:
                logger.debug("Leases wait for the store: %s", error)
                return
            self._left_behind.popleft()

    # --- threads --------------------------------------------------------------------------------

    def start(self) -> None:
        listener = Listener(changed=self.heard, lost=self.forget_all, revived=self.distrust)
        self._follower = Followers(conf().namespace, self.generation_key(""), listener)
        self._follower.start()
        self._keeper = threading.Thread(target=self._keep, name="cache-keeper", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        tables.followed = False
        if self._follower is not None:
            self._follower.stop()
        if self._keeper is not None:
            self._keeper.join(timeout=3)
        self.workers.stop()

    def _keep(self) -> None:
        poller, sender = overrides.Poller(), stats.Sender()
        process = f"{settings.NODE_ID}:{os.getpid()}"
        while not self._stopping.is_set():
            self._wake.wait(TICK_S)
            if self._stopping.is_set():
                return
            self._wake.clear()
            try:
                self._tick(poller, sender, process)
            except stats.Away as error:
                logger.debug("The bus is away: %s", error)  # its own alert says so, not each tick
            except Exception:  # without this thread nothing heals any more
                logger.exception("The cache's keeper goes on after an error that is a bug of ours")

    def _tick(self, poller: overrides.Poller, sender: stats.Sender, process: str) -> None:
        """Twice a second, and as soon as the store is back: resend invalidations, prolong poisons,
        take settings over, send counters.

        What needs only the store comes first, so that a bus that is away holds nothing up.
        """
        if self._unsent:
            self.resend()
        self._give_back()
        if self._follower is not None:
            self._follower.look()
        self._keep_poisons()
        for family in list(self.families.values()):
            family.budget.recount(self.store, self.clock())
        changed = poller.changed()
        if changed is not None:
            self.take_over(changed)
        tables.followed = True
        counts = {name: family.counts for name, family in list(self.families.items())}
        sender.send(counts, process, self.state(process))
        self.asked.send()

    def take_over(self, changed: dict[str, Override]) -> None:
        """Put the rows in force, their rules too."""
        self.overrides = changed
        parsed = {name: rules.parse_known(override.rules) for name, override in changed.items()}
        tables.put(parsed)
        for family in list(self.families.values()):
            in_force = parsed.get(family.name, rules.NONE)
            also = rules.carried(in_force, family.name, self.families)
            family.override(changed.get(family.name), in_force, also)

    def state(self, process: str) -> dict[str, Any]:
        families = list(self.families.values())
        return {
            "process": process,
            "store": "away" if self.store.breaker.is_open else "up",
            "breaker_opened": self.store.breaker.opened,
            "memory": "on" if self.hearing else "off",
            "pushes": self._follower.pushes if self._follower else 0,
            "push_losses": self._follower.losses if self._follower else 0,
            "push_lag_ms": self._follower.lag_ms if self._follower else None,
            "refreshes_dropped": self.workers.dropped,
            "stored": {family.name: family.budget.entries for family in families},
            "entries": {family.name: len(family.memory) for family in families},
            "ages": {family.name: family.memory.oldest_s(self.clock()) for family in families},
            "bytes": {family.name: family.memory.held_bytes for family in families},
        }


_families: dict[str, Any] = {}
_current: Runtime | None = None
_starting = threading.Lock()


def families() -> dict[str, Any]:
    return _families


def current() -> Runtime:
    """Return this process's runtime, with its threads running."""
    return _current or _start()


def _start() -> Runtime:
    global _current
    with _starting:
        if _current is None:
            runtime = Runtime(_families)
            runtime.start()
            _current = runtime
        return _current


def replace(runtime: Runtime | None) -> Runtime | None:
    """Put another runtime in place, or None to make a new one when next used; return the old."""
    global _current
    before, _current = _current, runtime
    for family in list(_families.values()):
        family.memory.clear()
    return before


def _after_fork() -> None:
    global _current, _starting
    _current = None
    _starting = threading.Lock()
    tables.followed = False
    for family in _families.values():
        family.renew()  # its counters were the parent's, and a lock in it may have been held


os.register_at_fork(after_in_child=_after_fork)
