from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load

SECRET_LETTERS = 32
_ABOVE_ZERO = (
    "default_ttl_s",
    "lease_s",
    "retry_s",
    "refresh_threads",
    "max_value_bytes",
    "entries",
    "parallel_loads",
    "load_threads",
    "poison_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachingConf:
    """The options of `PERFORMANCE["CACHING"]`. Times are in seconds, sizes in bytes."""

    namespace: str = "protipp"
    """The start of every key in `CACHE_URL`: two sites on one server must differ here."""
    enabled: bool = True
    """False computes every answer anew and keeps nothing: to compare, and to rule the cache out."""
    secrets: Sequence[str] = ()
    """With any, values are encrypted and signed in the store: the first locks, each opens. To
    change them, put the new one first and drop the old one a day later; once a year is often
    enough. Each is random text of at least 32 letters."""
    default_ttl_s: float = 60
    """How long a value counts as fresh, for a family that does not say."""
    default_stale_s: float = 60
    """How long after that it may be served while it is refreshed behind."""
    jitter: float = 0.1
    """Share of the TTL, 0 to 1, taken off at random so that keys do not expire together."""
    xfetch_beta: float = 1.0
    """How eager early refreshes are: 0 turns them off, 2 starts them twice as early."""
    lease_s: float = 10
    """How long one process may be the only one to compute a key; longer than any loader takes."""
    lease_wait_s: float = 2
    """How long others wait for it before they compute themselves."""
    patience_s: float = 1
    """How long a caller waits for a refresh when an older copy could still be served: the soft
    limit of a family that sets none."""
    retry_s: float = 1
    """How long after a failed refresh the next one is tried, while a copy is being served."""
    compress_from_bytes: int = 1024
    max_value_bytes: int = 4 * 1024 * 1024
    """A larger value is served and not stored, and counted as `too_big`."""
    memory_bytes: int = 16 * 1024 * 1024
    """What one family may hold in the memory of one process."""
    entries: int = 100_000
    """How many different values a family may have in the store, unless it says so itself."""
    parallel_loads: int = 32
    """How many loaders of a family may run at once in a process, unless it says so itself."""
    load_threads: int = 16
    """Threads that run the loaders of families with a hard limit."""
    poison_s: float = 10
    """How long a strict invalidation of a transaction that died keeps its tags out of the cache."""
    alone_s: float = 1
    """How long memory may answer while the store is away and nobody can tell it of a change."""
    warm_every_s: float = 2
    """How often beat warms what ends soon; the timetable in `protipp/celery.py` says the same."""
    warm_idle_s: float = 300
    """Beat warms only what somebody asked for within so long, at most an hour; 0 warms all that
    families name. The first reader after that meets an older copy, or computes."""
    refresh_threads: int = 2
    refresh_queue: int = 200
    """Refreshes that may wait for a thread; more are dropped and counted, not queued."""

    def __post_init__(self) -> None:
        self._within("jitter", 0, 1)
        self._within("xfetch_beta", 0, 100)
        self._within("warm_idle_s", 0, 3600)
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['CACHING'][{name!r}] is {getattr(self, name)}; "
                    "it must be above 0."
                )
        for secret in self.secrets:
            if len(secret) < SECRET_LETTERS:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['CACHING']['secrets'] has one of {len(secret)} letters; each "
                    f"must have {SECRET_LETTERS}, as secrets.token_urlsafe(32) gives them."
                )
        if not self.namespace or any(letter in self.namespace for letter in " \r\n*{}"):
            raise ImproperlyConfigured(
                f"PERFORMANCE['CACHING']['namespace'] is {self.namespace!r}; "
                "it must be a short word without spaces, braces or *."
            )

    def _within(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            raise ImproperlyConfigured(
                f"PERFORMANCE['CACHING'][{name!r}] is {getattr(self, name)}; "
                f"it must lie between {low} and {high}."
            )


def conf() -> CachingConf:
    return load(CachingConf, "CACHING")
