"""The manual of monitoring's options."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringConf:
    """The options of `PERFORMANCE["MONITORING"]`. Times are seconds unless the name says else."""

    enabled: bool = True
    """False counts nothing in this process: to compare, and to rule monitoring out."""
    process_series: int = 500
    """Series one process may send a second; what is beyond goes to `__other__` and is counted."""
    max_series: int = 2000
    """Series the monitor keeps apart in an hour, over all processes; beyond goes to `__other__`."""
    backlog: int = 10
    """Unsent seconds a process holds while the bus is away; the oldest is dropped and counted."""
    sample_entries: int = 4000
    """Length of the stream of samples: five minutes of a dozen processes."""
    seconds_kept: int = 900
    """Merged seconds that stay on the bus: what the page shows when it opens."""
    minutes_kept_days: int = 14
    hours_kept_days: int = 400
    slow_request_ms: float = 50.0
    """Faster requests are never kept as samples, however slow they are for their route."""
    metrics_token: str = ""
    """Bearer token of `/metrics`; empty lets in only direct requests from this machine."""
    alert_recipients: tuple[str, ...] = ()
    """E-mail addresses that get alerts; empty sends none (the pages always show them)."""
    webhook_networks: tuple[str, ...] = ()
    """Networks of our own, such as `10.1.2.0/24`, to which webhooks may go, without TLS too."""
    group_wait_s: int = 5
    """Seconds that mail to `alert_recipients` waits for other alerts, to go out as one."""
    remind_after_s: int = 14_400
    """Seconds after which addresses of `alert_recipients` hear again of what fires; 0 never."""
    vitals_per_minute: int = 60
    """Reports of web vitals that one address may send in a minute; more are refused with 429."""
    page_timeout_s: float = 5.0
    """A page whose difference takes longer is reported as stuck, and skipped until it is done."""

    def __post_init__(self) -> None:
        for name in ("process_series", "max_series", "backlog", "sample_entries", "seconds_kept"):
            value = getattr(self, name)
            if value < 1:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['MONITORING'][{name!r}] is {value}; it must be at least 1."
                )
        for network in self.webhook_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['MONITORING']['webhook_networks'] has {network!r}: {error}."
                ) from None
        if isinstance(self.alert_recipients, str):
            raise ImproperlyConfigured(
                "PERFORMANCE['MONITORING']['alert_recipients'] is one string; "
                "it must be a list of addresses, such as ['ops@example.org']."
            )


def conf() -> MonitoringConf:
    return load(MonitoringConf, "MONITORING")
