"""CacheManager: the register of families, and what is done to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from performance.caching import auditing, overview, rules, tracing, transactions, warming, writes
from performance.caching import runtime as runtimes
from performance.caching.auditing import Audit
from performance.caching.conf import conf
from performance.caching.errors import UnknownFamily
from performance.caching.fakes import Fake
from performance.caching.families import Family
from performance.caching.policy import Policy
from performance.caching.presets import PRESETS, Preset
from performance.caching.warming import Warmed, Warming

P = ParamSpec("P")
T = TypeVar("T")


class CacheManager:
    """One a process; `cache` is it."""

    def families(self) -> list[Family[..., Any]]:
        return [runtimes.families()[name] for name in sorted(runtimes.families())]

    def family(self, name: str) -> Family[..., Any]:
        """Return the family of that name; UnknownFamily lists those that there are."""
        try:
            found: Family[..., Any] = runtimes.families()[name]
        except KeyError:
            raise UnknownFamily(name, sorted(runtimes.families())) from None
        return found

    def register(self, family: Family[..., Any]) -> None:
        known = runtimes.families().get(family.name)
        if known is not None and _origin(known) != _origin(family):
            raise ImproperlyConfigured(
                f"Two cached families are called {family.name!r}: {_origin(known)} and "
                f"{_origin(family)}. Rename one."
            )
        runtimes.families()[family.name] = family

    def close(self) -> None:
        """End this process's threads and pushes; the next use starts them anew."""
        runtime = runtimes.replace(None)
        if runtime is not None:
            runtime.stop()

    def invalidate(
        self, *tags: str, hard: bool = True, strict: bool = False, using: str = "default"
    ) -> bool:
        """Make everything under `tags` a miss (`hard`), or stale: served while it is refreshed.

        Inside a transaction it happens after COMMIT, and not at all after a rollback. One round
        trip, whatever the tags hold. False when the store is away: then this process goes on
        trying, and whoever must be certain (an outbox) tries again too.

        `strict` inside a transaction holds even when this process dies between COMMIT and then: the
        tags are kept out of the cache from now on until COMMIT. It costs two round trips a tag, and
        raises StoreAway, so that the transaction fails, when that cannot be promised.
        """
        runtime = runtimes.current()
        if tags and transactions.in_transaction(using):
            hook = transactions.on_commit(tags, _committed, hard=hard, strict=strict, using=using)
            if hook.holder is not None:
                runtime.poison(tags, hook.holder)
            return True
        return not tags or runtime.invalidate(tags, hard=hard)

    def invalidates(
        self,
        model: type[Model],
        tags: Callable[[Any], Iterable[str]],
        *,
        many: Iterable[str] | None = None,
        strict: bool = False,
    ) -> None:
        """Invalidate `tags(row)` whenever a row of `model` is written, after COMMIT.

        Seen are saves, deletes (cascades too), changes of many-to-many fields, and a QuerySet's
        update, bulk_create and bulk_update. The tags of a row are those of before the change and
        those of after it, which costs one query a save or update. When more than 1,000 rows are
        written at once it is `many` that is invalidated, by default every family. SQL written by
        hand is not seen: see the rule `model:app.Model`, or call `invalidate`.
        """
        writes.watch(
            model, tags, many=None if many is None else tuple(many), strict=strict, cache=self
        )

    def purge(self, *families: str, hard: bool = True) -> bool:
        """Invalidate whole families, all of them without names; UnknownFamily for a wrong one."""
        chosen = [self.family(name) for name in families] if families else self.families()
        return self.invalidate(*(family.own_tag for family in chosen), hard=hard)

    def purge_key(self, family: str, *arguments: Any) -> bool:
        """Remove one value of a family from the store and every process; False when it is away.

        A loader that runs just now stores what it has read: whoever must be exact invalidates a
        tag. Families whose rules name the key (`key:board["a"]`) go with it.
        """
        found = self.family(family)
        key = found.readable_key(found.bind(arguments, {}))
        related = [other for other in self.families() if rules.touches(other.rules, key)]
        gone = found.forget(arguments)
        return self.invalidate(*(other.own_tag for other in related)) and gone

    def preset(self, name: str) -> Preset:
        """Return `api`, `user_data`, `static` or `realtime`; UnknownFamily for another name."""
        try:
            return _presets[name]
        except KeyError:
            raise UnknownFamily(name, sorted(_presets)) from None

    def warming_plan(self, *families: str, limit: int = 1000) -> list[Warming]:
        """Return what the families' own `warm` asks for, at most `limit` values each."""
        chosen = [self.family(name) for name in families] if families else self.families()
        return warming.plan(chosen, limit=limit)

    def warm(
        self, plan: Sequence[Warming], *, concurrency: int = 1, force: bool = False
    ) -> Iterator[Warmed]:
        """Fill what is planned and yield each outcome; `force` also what is fresh for long yet."""
        return warming.run(plan, concurrency=concurrency, force=force)

    def trace(self, tracer: tracing.Tracer | None) -> None:
        """Make spans of misses, loaders and invalidations with `tracer`, such as OpenTelemetry's
        `trace.get_tracer("cache")`; None ends it."""
        tracing.trace(tracer)

    def audit(self, *, samples: int = 3) -> list[Audit]:
        """Recompute samples of what is served as fresh, and say how many were wrong."""
        return auditing.audit(self.families(), samples=samples)

    def overview(self) -> dict[str, Any]:
        """Return what all processes' caches did in the last 15 minutes, and how the store is."""
        return overview.overview(self.families())

    @contextmanager
    def fake(self) -> Iterator[Fake]:
        """Give a test a store of its own, with a clock to move and switches for what goes wrong."""
        store = Fake(runtimes.families())
        runtime = runtimes.Runtime(runtimes.families(), store=store)
        runtime.clock = store.clock
        store.runtime = runtime
        before = runtimes.replace(runtime)
        try:
            yield store
        finally:
            runtimes.replace(before)
            runtime.stop()


def _committed(hook: transactions.Invalidation) -> None:
    runtimes.current().committed(hook)


def _origin(family: Family[..., Any]) -> str:
    wrapped = family.__wrapped__
    return f"{wrapped.__module__}.{getattr(wrapped, '__qualname__', family.name)}"


cache = CacheManager()

_presets = {
    name: Preset(name, ttl_s=ttl_s, memory_entries=entries, invalidate=cache.invalidate)
    for name, (ttl_s, entries) in PRESETS.items()
}
for _preset in _presets.values():
    cache.register(_preset.family)


def cached(
    name: str,
    *,
    ttl_s: float | None = None,
    stale_s: float | None = None,
    max_stale_s: float | None = None,
    memory_s: float = 1,
    schema: Any = Any,
    tags: Callable[..., Iterable[str]] | None = None,
    warm: Callable[[], Iterable[tuple[Any, ...]]] | None = None,
    cdn: str | None = None,
    strategy: str | None = None,
    raises: tuple[type[Exception], ...] = (),
    soft_limit_s: float | None = None,
    hard_limit_s: float | None = None,
    memory_entries: int | None = None,
    entries: int | None = None,
    parallel: int | None = None,
    ttl: Callable[[Any], float | None] | None = None,
    dated: Callable[[Any], float | None] | None = None,
    audited: Callable[[Any], Any] | None = None,
) -> Callable[[Callable[P, T]], Family[P, T]]:
    """Make a function a cached family under `name`.

    A value is fresh for `ttl_s`; served for `stale_s` more while it is refreshed behind; and up to
    `max_stale_s` (by default the same) when refreshing fails: beyond it RefreshFailed is raised.
    `memory_s` is how long a process may answer without asking the store. `tags(*arguments)` names
    what it depends on. `warm()` yields the argument tuples worth having before they are asked for.
    `cdn="public"` lets shared caches keep the answer. What is listed in `raises` is an answer of
    the loader (such as DoesNotExist) and passes through. `dated(value)` says of which Unix time its
    content is: then its age is measured whenever HTTP serves it. `audited(value)` leaves out what
    differs at each computation, such as the time of it: the auditor compares the rest.

    `ttl(value)` says how long this one is fresh, up to `ttl_s`; None is all of it, 0 not to be
    stored. A caller waits `soft_limit_s` for the loader while an older copy could be served, and
    `hard_limit_s` at most; the loader finishes behind. At most `parallel` of them run at once in a
    process, and at most `entries` different values are stored, `memory_entries` in memory.
    """
    stale_s = conf().default_stale_s if stale_s is None else stale_s
    if cdn not in (None, "public"):
        raise ImproperlyConfigured(f"Family {name!r}: cdn is {cdn!r}; it must be None or 'public'.")
    try:
        policy = Policy(
            ttl_s=conf().default_ttl_s if ttl_s is None else ttl_s,
            stale_s=stale_s,
            max_stale_s=stale_s if max_stale_s is None else max_stale_s,
            memory_s=memory_s,
            soft_limit_s=soft_limit_s,
            hard_limit_s=hard_limit_s,
            strategy=strategy or ("cdn" if cdn else "redis"),
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"Family {name!r}: {error}") from None

    def decorate(loader: Callable[P, T]) -> Family[P, T]:
        family: Family[P, T] = Family(
            name,
            loader,
            policy=policy,
            schema=schema,
            tags=tags,
            warm=warm,
            cdn=cdn,
            raises=raises,
            memory_entries=memory_entries,
            entries=entries,
            parallel=parallel,
            ttl=ttl,
            dated=dated,
            audited=audited,
        )
        cache.register(family)
        return family

    return decorate
