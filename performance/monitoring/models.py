from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from performance.monitoring.alert_models import (
    AlertChannel,
    AlertEvent,
    AlertMessage,
    AlertRule,
    AlertState,
)
from performance.monitoring.quiet_models import AlertSilence, MuteWindow

__all__ = [
    "AlertChannel",
    "AlertEvent",
    "AlertMessage",
    "AlertRule",
    "AlertSilence",
    "AlertState",
    "ApiToken",
    "Deploy",
    "ErrorGroup",
    "MetricHour",
    "MetricMinute",
    "MetricSeries",
    "MuteWindow",
    "RequestSample",
    "RollerState",
    "SampleStatement",
]


class MetricSeries(models.Model):
    """One thing that is counted over time. `kind`, `key` and `status` are written once, here."""

    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=300)
    status = models.CharField(
        max_length=8, help_text="2xx to 5xx for requests, ok or error; count or gauge for those."
    )

    class Meta:
        verbose_name_plural = "metric series"
        constraints = [
            models.UniqueConstraint(fields=["kind", "key", "status"], name="one_series_a_name")
        ]
        permissions = [("view_monitor", "Can see the live page of performance")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} {self.status}"


class Metric(models.Model):
    """A histogram of one series over one span of time.

    `total` and `greatest` are microseconds for durations, and the gauge's own unit for gauges
    (where `n` is the number of seconds that had a value, so the mean is `total / n`).
    """

    pk = models.CompositePrimaryKey("series_id", "at")
    series = models.ForeignKey(
        MetricSeries, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    at = models.DateTimeField(help_text="The beginning of the span, UTC.")
    n = models.BigIntegerField()
    total = models.BigIntegerField()
    greatest = models.BigIntegerField()
    buckets = models.JSONField(help_text="{index: count}, 16 an octave; see histogram.py.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"series {self.series_id} at {self.at:%Y-%m-%d %H:%M}: {self.n}"


class MetricMinute(Metric):
    """Partitioned by day; a day's partition is dropped after 14 days."""


class MetricHour(Metric):
    """Partitioned by month; a month's partition is dropped after 400 days."""


class RequestSample(models.Model):
    """One of the slowest or failed requests, with where its time went. Partitioned by day.

    The table's own primary key is (id, at), as PostgreSQL wants of partitions; `id` is unique.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    route = models.CharField(max_length=300)
    status = models.PositiveSmallIntegerField()
    duration_ms = models.FloatField()
    sql_ms = models.FloatField()
    sql_count = models.IntegerField()
    cache_ms = models.FloatField()
    http_ms = models.FloatField(db_default=0.0, help_text="Waiting for other servers.")
    render_ms = models.FloatField(db_default=0.0, help_text="Templates, less the SQL in them.")
    user_id = models.BigIntegerField(null=True)
    session_hash = models.CharField(max_length=16, blank=True)
    node = models.CharField(max_length=80)
    error = models.CharField(max_length=120, blank=True)
    statements = models.JSONField(
        null=True, help_text="The costliest: [fingerprint, times, ms of all these times]."
    )

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.route} {self.status}: {self.duration_ms:.1f} ms"

    @property
    def other_ms(self) -> float:
        """What was none of the parts named: Python, waiting."""
        named_ms = self.sql_ms + self.cache_ms + self.http_ms + self.render_ms
        return max(0.0, self.duration_ms - named_ms)


class SampleStatement(models.Model):
    """The text of what kept requests asked of the database, stored once. It holds no values."""

    fingerprint = models.CharField(max_length=32, primary_key=True)
    sql = models.TextField()
    seen_on = models.DateField(help_text="The last day on which a request was kept that asked it.")

    def __str__(self) -> str:
        return self.sql[:80]


class ErrorGroup(models.Model):
    """Exceptions of one kind from one line of code. The text is stored once, however often."""

    fingerprint = models.CharField(max_length=16, unique=True)
    kind = models.CharField(max_length=120, help_text="The exception's class.")
    place = models.CharField(max_length=200, help_text="The innermost line of our own code.")
    message = models.CharField(max_length=300, blank=True, help_text="Of the newest one.")
    trace = models.TextField(blank=True, help_text="Files and lines, no values.")
    endpoint = models.CharField(max_length=300, help_text="Where it was last seen.")
    times = models.PositiveBigIntegerField(default=0)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_seen_at"]
        indexes = [models.Index(fields=["-last_seen_at"], name="error_group_newest")]

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.times} times"


class Deploy(models.Model):
    """A build that was heard for the first time: a mark on the charts."""

    build = models.CharField(max_length=40, unique=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.build} at {self.at:%Y-%m-%d %H:%M}"


class ApiToken(models.Model):
    """Lets a program in as a user, for reading or also for acting. The token itself is not kept."""

    name = models.CharField(max_length=80, unique=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+",
        help_text="Whose permissions it has: never more than these.",
    )  # fmt: skip
    may_act = models.BooleanField(
        default=False, help_text="Acknowledge and silence alerts too, not only read."
    )
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name


class RollerState(models.Model):
    """How far the rollups reach; moved only in the transaction that writes them, and only forward.

    Who finds it moved by another has been superseded, and writes nothing.
    """

    name = models.CharField(primary_key=True, max_length=16)
    last_id = models.CharField(max_length=40, help_text="The newest sample in the rollups.")
    minute = models.DateTimeField(help_text="The newest minute written.")
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.name}: up to {self.last_id}"
