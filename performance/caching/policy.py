"""How long a family's values live and where: the defaults in code, and the row that overrides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

STRATEGIES = ("memory", "redis", "cdn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Times are seconds after the value was computed (`ttl_s`) or after it stopped being fresh."""

    ttl_s: float
    stale_s: float
    """May be served this long after `ttl_s` while it is refreshed behind."""
    max_stale_s: float
    """May be served this long after `ttl_s` when the refresh fails; then it is an error."""
    memory_s: float
    """How long a process may answer from its own memory before it asks the store; 0 never."""
    strategy: str = "redis"
    compression: bool = True
    version: int = 1

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy is {self.strategy!r}; it must be one of: {', '.join(STRATEGIES)}."
            )
        if self.ttl_s <= 0:
            raise ValueError(f"ttl_s is {self.ttl_s}; it must be above 0 seconds.")
        for name in ("stale_s", "max_stale_s", "memory_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative.")
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


class Override(msgspec.Struct, frozen=True):
    """What one CacheConfig row says; it travels to every process as JSON."""

    cache_key: str
    ttl_seconds: float
    strategy: str
    compression_enabled: bool
    version: int


def apply(defaults: Policy, override: Override | None) -> Policy:
    """Return the policy in force. A shorter TTL never lengthens what a family allows as stale."""
    if override is None:
        return defaults
    return replace(
        defaults,
        ttl_s=override.ttl_seconds,
        memory_s=min(defaults.memory_s, override.ttl_seconds),
        strategy=override.strategy,
        compression=override.compression_enabled,
        version=override.version,
    )
