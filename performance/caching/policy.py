"""How long a family's values live and where: the defaults in code, and the row that overrides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

STRATEGIES = ("memory", "redis", "cdn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Times are seconds after the value was computed (`ttl_s`) or after it stopped being fresh."""

    ttl_s: float
    """The most that a value is fresh; one that says its own time may say less."""
    stale_s: float
    """May be served this long after `ttl_s` while it is refreshed behind."""
    max_stale_s: float
    """May be served this long after `ttl_s` when the refresh fails; then it is an error."""
    memory_s: float
    """How long a process may answer from its own memory before it asks the store; 0 never."""
    soft_limit_s: float | None = None
    """How long a caller waits for a loader while an older copy could be served; None: the room's
    `patience_s`. The loader finishes behind."""
    hard_limit_s: float | None = None
    """How long a caller waits for a loader at all; then it is an error, and the loader finishes
    behind. None: as long as it takes, in the caller's own thread."""
    strategy: str = "redis"
    compression: bool = True
    version: int = 1
    every_s: float = 0
    """Nothing outlives a multiple of so many seconds of Unix time; 0 is no such rule."""
    also: tuple[str, ...] = ()
    """Tags that every entry carries because a row's rules say so."""

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy is {self.strategy!r}; it must be one of: {', '.join(STRATEGIES)}."
            )
        if self.ttl_s <= 0:
            raise ValueError(f"ttl_s is {self.ttl_s}; it must be above 0 seconds.")
        for name in ("stale_s", "max_stale_s", "memory_s", "every_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative.")
        for name in ("soft_limit_s", "hard_limit_s"):
            limit_s = getattr(self, name)
            if limit_s is not None and limit_s <= 0:
                raise ValueError(f"{name} is {limit_s}; it must be above 0 seconds, or None.")
        if self.max_stale_s < self.stale_s:
            raise ValueError(
                f"max_stale_s is {self.max_stale_s} and stale_s is {self.stale_s}; what may be "
                "served while refreshing may also be served when the refresh fails, so "
                "max_stale_s must be at least stale_s."
            )

    @property
    def kept_s(self) -> float:
        """After this the store may forget it."""
        return self.ttl_s + self.max_stale_s

    def cut_s(self, created_s: float) -> float:
        """Return the Unix time at which `every_s` ends what was created then; inf without it."""
        if not self.every_s:
            return math.inf
        return (created_s // self.every_s + 1) * self.every_s

    def fresh_until_s(self, created_s: float, soft_s: float, ttl_s: float) -> float:
        """Return when a value stops being fresh: by its own times, and by what is in force now."""
        return min(soft_s, created_s + min(ttl_s, self.ttl_s), self.cut_s(created_s))

    def ends_s(self, created_s: float, ttl_s: float, grace_s: float | None = None) -> float:
        """Return when it may no longer be served `grace_s` (`max_stale_s`) after its freshness."""
        grace_s = self.max_stale_s if grace_s is None else grace_s
        return min(created_s + min(ttl_s, self.ttl_s) + grace_s, self.cut_s(created_s))


class Override(msgspec.Struct, frozen=True):
    """What one CacheConfig row says; it travels to every process as JSON."""

    cache_key: str
    ttl_seconds: float
    strategy: str
    compression_enabled: bool
    version: int
    rules: tuple[str, ...] = ()


def apply(
    defaults: Policy,
    override: Override | None,
    *,
    every_s: float = 0,
    also: tuple[str, ...] = (),
) -> Policy:
    """Return the policy in force. A shorter TTL never lengthens what a family allows as stale.

    `every_s` and `also` are what the row's rules come to.
    """
    if override is None:
        return defaults
    return replace(
        defaults,
        ttl_s=override.ttl_seconds,
        memory_s=min(defaults.memory_s, override.ttl_seconds),
        strategy=override.strategy,
        compression=override.compression_enabled,
        version=override.version,
        every_s=every_s,
        also=also,
    )
