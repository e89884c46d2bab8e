"""The options of `PERFORMANCE["ODDS"]`: the manual of ingest and feeds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OddsConf:
    """Times are in seconds or days, as their names say; sizes in bytes."""

    # --- what ingest takes
    max_price: Decimal = Decimal(100_000)
    """Decimal odds above this are a source's error and are refused."""
    max_skew_s: float = 30.0
    """How far a source's clock may be ahead of ours; `last_update` beyond it is set to now."""
    refused_rows_a_batch: int = 1_000
    """At most this many refused quotes of one batch are kept; the report has them all."""
    refused_days: int = 14
    """How long refused quotes are kept."""

    # --- history
    history_days: int = 400
    """Partitions of price history older than this are dropped whole."""
    partitions_ahead_days: int = 7
    """Partitions are made this many days before they are needed."""

    # --- arbitrage
    max_price_age_s: float = 900.0
    """A price last confirmed longer ago than this is no leg of an arbitrage."""

    # --- broadcast
    channel: str = "odds:changes"
    """The bus channel on which one message a batch is published."""
    max_changes_a_message: int = 2_000
    """Above this a message names the sports to read again, instead of the changes."""

    # --- The Odds API
    base_url: str = "https://api.the-odds-api.com/v4"
    """Fixed to https; plain http is taken for a loopback address only (tests)."""
    regions: tuple[str, ...] = ("eu", "uk")
    markets: tuple[str, ...] = ("h2h", "spreads", "totals")
    """Each call costs markets x regions credits."""
    timeout_s: float = 10.0
    """For a whole call of the source, from connecting to the last byte."""
    max_response_bytes: int = 20_000_000
    """An answer that unpacks to more is refused: no gzip bomb fills the memory."""
    reserve_credits: int = 10
    """Credits that the schedule leaves untouched, for calls by hand."""
    min_interval_s: float = 60.0
    """The provider refreshes main markets this often; asking more often only costs."""
    max_interval_s: float = 6 * 3600.0
    """A sport is asked at least this often while credits last."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float | Decimal) and not value > 0:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['ODDS'][{field.name!r}] is {value}; it must be above 0."
                )
        url = urlsplit(self.base_url)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK):
            raise ImproperlyConfigured(
                f"PERFORMANCE['ODDS']['base_url'] is {self.base_url!r}; the key would travel in "
                "the clear. It must be https:// (http:// only to 127.0.0.1)."
            )
        if self.min_interval_s > self.max_interval_s:
            raise ImproperlyConfigured(
                f"PERFORMANCE['ODDS']['min_interval_s'] is {self.min_interval_s}; it must not be "
                f"above max_interval_s, which is {self.max_interval_s}."
            )


def conf() -> OddsConf:
    return load(OddsConf, "ODDS")
