"""The options of the queries room."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load


@dataclass(frozen=True, slots=True, kw_only=True)
class QueriesConf:
    """The options of `PERFORMANCE["QUERIES"]`. Times are in milliseconds unless named otherwise."""

    capture: bool = True
    """Time and count every statement; about a microsecond each."""
    n_plus_one_count: int = 10
    """The same statement so often in one request is an N+1 …"""
    n_plus_one_ms: float = 20.0
    """… when it took so long in all."""
    slow_query_ms: float = 100.0
    """One statement slower than this is kept with the line of code that asked for it."""
    history_days: int = 30
    """How long the minutely history of each statement is kept."""
    top_statements: int = 100
    """How many of the server's costliest statements get a history."""
    advice_rows: int = 500
    """Tables smaller than this get no index advice: reading them whole is as fast."""
    advice_copy_rows: int = 50_000
    """How many rows the bounded copy has on which a candidate index is proved."""
    advice_gain_ratio: float = 0.3
    """The share of the planner's cost that an index must save to be advised, 0 to 1."""
    explain_ms: float = 1_500.0
    """How long a statement may run under EXPLAIN ANALYZE, on the page."""
    replica_lag_s: float = 1.0
    """A replica further behind than this is not read, in seconds."""
    replica_pin_s: float = 5.0
    """For how long who wrote reads the primary, in seconds; well above `replica_lag_s`."""

    def __post_init__(self) -> None:
        if not 0 < self.advice_gain_ratio < 1:
            raise ImproperlyConfigured(
                f"PERFORMANCE['QUERIES']['advice_gain_ratio'] is {self.advice_gain_ratio}; "
                "it must lie between 0 and 1."
            )
        if self.replica_pin_s < self.replica_lag_s + 2:
            raise ImproperlyConfigured(
                f"PERFORMANCE['QUERIES']['replica_pin_s'] is {self.replica_pin_s}; it must be 2 s "
                f"above replica_lag_s, which is {self.replica_lag_s}: a replica that falls behind "
                "is left out within 2 s, and until then a reader may miss his own write."
            )
        if self.n_plus_one_count < 2:
            raise ImproperlyConfigured(
                f"PERFORMANCE['QUERIES']['n_plus_one_count'] is {self.n_plus_one_count}; "
                "one statement alone repeats nothing, so it must be 2 or more."
            )


def conf() -> QueriesConf:
    return load(QueriesConf, "QUERIES")
