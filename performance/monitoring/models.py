from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now


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
    user_id = models.BigIntegerField(null=True)
    session_hash = models.CharField(max_length=16, blank=True)
    node = models.CharField(max_length=80)
    error = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.route} {self.status}: {self.duration_ms:.1f} ms"

    @property
    def other_ms(self) -> float:
        """What was neither SQL nor cache: Python, rendering, waiting."""
        return max(0.0, self.duration_ms - self.sql_ms - self.cache_ms)


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


class AlertRule(models.Model):
    """When somebody should be told. Evaluated each second over the last minute's measured values.

    It fires when the value stays beyond `fire_at` for `for_s`, and is over when the value has
    stayed on the good side of `clear_at` for `keep_firing_s`.
    """

    class Measure(models.TextChoices):
        RESPONSE_TIME = "response_time", "response time (ms)"
        QUERY_TIME = "query_time", "database query time (ms)"
        ERROR_RATE = "error_rate", "share of requests answered 5xx (0 to 1)"
        THROUGHPUT = "throughput", "requests a second"
        CACHE_HIT_RATIO = "cache_hit_ratio", "cache hit ratio (0 to 1)"
        PRICE_AGE = "price_age", "age of prices served (s)"
        MEMORY = "memory", "memory of the largest node (bytes)"
        QUEUE_DEPTH = "queue_depth", "tasks waiting"
        NODE_SILENCE = "node_silence", "longest silence of a node (s)"

    class Aggregate(models.TextChoices):
        P50 = "p50", "median"
        P95 = "p95", "95th percentile"
        P99 = "p99", "99th percentile"
        MEAN = "mean", "mean"
        VALUE = "value", "the value itself"

    class Comparison(models.TextChoices):
        ABOVE = "above", "above"
        BELOW = "below", "below"

    class NoData(models.TextChoices):
        OK = "ok", "means that all is well"
        KEEP = "keep", "keeps the state as it is"
        ALERT = "alert", "is itself an alert"

    class Severity(models.TextChoices):
        WARNING = "warning", "warning"
        CRITICAL = "critical", "critical"

    TIMED = frozenset({Measure.RESPONSE_TIME, Measure.QUERY_TIME, Measure.PRICE_AGE})
    """The metrics that have percentiles; the others have `value` only."""

    name = models.CharField(max_length=80, unique=True)
    metric = models.CharField(max_length=24, choices=Measure)
    selector = models.CharField(
        max_length=200,
        blank=True,
        help_text="Patterns with * for the key, with commas between, such as `GET api/*, GET /` "
        "or `web-*`; `!admin/*` leaves out. Empty takes all.",
    )
    aggregate = models.CharField(max_length=8, choices=Aggregate, default=Aggregate.VALUE)
    comparison = models.CharField(max_length=8, choices=Comparison, default=Comparison.ABOVE)
    fire_at = models.FloatField(help_text="In the metric's unit.")
    clear_at = models.FloatField(help_text="On the good side of the former, or equal.")
    for_s = models.PositiveIntegerField(default=30, help_text="Seconds beyond, before it fires.")
    keep_firing_s = models.PositiveIntegerField(
        default=60, help_text="Seconds well again, before it is over."
    )
    no_data = models.CharField(max_length=8, choices=NoData, default=NoData.KEEP)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        permissions = [
            ("view_alerts", "Can see the live page of alerts"),
            ("acknowledge_alert", "Can acknowledge an alert"),
            ("silence_alert", "Can silence an alert"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        timed = self.metric in self.TIMED
        if timed == (self.aggregate == self.Aggregate.VALUE):
            allowed = "p50, p95, p99, mean" if timed else "value"
            raise ValidationError(
                {"aggregate": f"{self.aggregate!r} of {self.metric} is not measured; "
                              f"it must be one of: {allowed}."}
            )  # fmt: skip
        above = self.comparison == self.Comparison.ABOVE
        if self.fire_at is None or self.clear_at is None:
            return  # the fields' own errors say so
        if (self.clear_at > self.fire_at) if above else (self.clear_at < self.fire_at):
            side = "at most" if above else "at least"
            raise ValidationError(
                {"clear_at": f"{self.clear_at:g} lies beyond fire_at {self.fire_at:g}; "
                             f"it must be {side} that, or the alert could never end."}
            )  # fmt: skip


class AlertState(models.Model):
    """Where one rule stands. Only the leading monitor moves `state`; staff set the rest."""

    rule = models.OneToOneField(
        AlertRule, on_delete=models.CASCADE, primary_key=True, related_name="standing"
    )
    state = models.CharField(max_length=12, default="ok")
    since = models.DateTimeField(db_default=Now())
    value = models.FloatField(null=True, help_text="When the state was reached.")
    subject = models.CharField(max_length=300, blank=True, help_text="Which key is the worst.")
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    silenced_until = models.DateTimeField(null=True, blank=True)
    silenced_by = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return f"{self.rule}: {self.state}"


class AlertEvent(models.Model):
    """What happened to an alert, for good."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(db_default=Now())
    event = models.CharField(
        max_length=16, help_text="fired, cleared, no_data, data_back, acknowledged or silenced."
    )
    value = models.FloatField(null=True)
    subject = models.CharField(max_length=300, blank=True)
    text = models.CharField(max_length=500)
    by = models.CharField(max_length=150, blank=True, help_text="Whose act it was, if anybody's.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["-at"], name="alert_event_newest")]

    def __str__(self) -> str:
        return self.text


class AlertMessage(models.Model):
    """The outbox: a message that is still to be sent, or was. Written with its event, or not."""

    event = models.ForeignKey(AlertEvent, on_delete=models.CASCADE, related_name="messages")
    channel = models.CharField(max_length=16, help_text="email")
    recipient = models.CharField(max_length=254)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event", "channel", "recipient"], name="one_message_a_recipient"
            )
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                name="alert_message_due",
                condition=models.Q(sent_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel} to {self.recipient}: {self.event}"
