"""Alert rules, where they stand, what happened, and what is to be sent."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.db.models.functions import Now

from performance.monitoring.errors import AddressRefused
from performance.monitoring.outbound import SHORTEST_SECRET, check_address


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
        EDGE_OUT = "edge_out", "share of time that the CDN was out of use (0 to 1)"
        SCALING = "scaling", "scaling of nodes (a count)"
        ERROR_BUDGET = "error_budget", "burn of the error budget (1 is the limit)"

    class Aggregate(models.TextChoices):
        P50 = "p50", "median"
        P95 = "p95", "95th percentile"
        P99 = "p99", "99th percentile"
        MEAN = "mean", "mean"
        VALUE = "value", "the value itself"

    class Comparison(models.TextChoices):
        ABOVE = "above", "above"
        BELOW = "below", "below"

    class Basis(models.TextChoices):
        VALUE = "value", "the value itself"
        WEEK = "week", "how unusual it is for this hour of the week (in deviations)"

    class Burn(models.TextChoices):
        FAST = "fast", "14.4x over 1 h and 5 min, or 6x over 6 h and 30 min"
        SLOW = "slow", "1x over 3 days and 2 h"

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
    basis = models.CharField(max_length=8, choices=Basis, default=Basis.VALUE)
    objective = models.FloatField(
        null=True,
        blank=True,
        help_text="Of an error budget: the share of requests that must be good, such as 0.999.",
    )
    slow_ms = models.FloatField(
        null=True,
        blank=True,
        help_text="Of an error budget: slower requests are not good either; empty counts only 5xx.",
    )
    burn = models.CharField(max_length=8, choices=Burn, default=Burn.FAST)
    comparison = models.CharField(max_length=8, choices=Comparison, default=Comparison.ABOVE)
    fire_at = models.FloatField(help_text="In the metric's unit.")
    clear_at = models.FloatField(help_text="On the good side of the former, or equal.")
    for_s = models.PositiveIntegerField(default=30, help_text="Seconds beyond, before it fires.")
    keep_firing_s = models.PositiveIntegerField(
        default=60, help_text="Seconds well again, before it is over."
    )
    no_data = models.CharField(max_length=8, choices=NoData, default=NoData.KEEP)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    inhibited_by = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        help_text="While one of these fires, nobody is told of this one: it is a consequence.",
    )
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
        self._clean_kinds()
        above = self.comparison == self.Comparison.ABOVE
        if self.fire_at is None or self.clear_at is None:
            return  # the fields' own errors say so
        if (self.clear_at > self.fire_at) if above else (self.clear_at < self.fire_at):
            side = "at most" if above else "at least"
            raise ValidationError(
                {"clear_at": f"{self.clear_at:g} lies beyond fire_at {self.fire_at:g}; "
                             f"it must be {side} that, or the alert could never end."}
            )  # fmt: skip

    def _clean_kinds(self) -> None:
        if self.metric == self.Measure.ERROR_BUDGET:
            if self.objective is None or not 0 < self.objective < 1:
                raise ValidationError(
                    {"objective": f"{self.objective} is no objective; an error budget "
                                  "needs a share between 0 and 1, such as 0.999."}
                )  # fmt: skip
            if self.basis != self.Basis.VALUE:
                raise ValidationError({"basis": "An error budget has windows of its own already."})
        if self.slow_ms is not None and self.slow_ms <= 0:
            raise ValidationError({"slow_ms": f"{self.slow_ms:g} is not above 0 ms."})
        if self.basis == self.Basis.WEEK and self.metric == self.Measure.NODE_SILENCE:
            raise ValidationError({"basis": "The silence of nodes is not kept by the hour."})


class AlertState(models.Model):
    """Where one rule stands. Only the leading monitor moves `state`; staff set the rest."""

    rule = models.OneToOneField(
        AlertRule, on_delete=models.CASCADE, primary_key=True, related_name="standing"
    )
    state = models.CharField(max_length=12, default="ok")
    since = models.DateTimeField(db_default=Now())
    value = models.FloatField(null=True, help_text="When the state was reached.")
    subject = models.CharField(
        max_length=300, blank=True, help_text="Which key was the worst when it began."
    )
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    told = models.BooleanField(
        default=False, help_text="Whether channels have heard of the alarm that is on."
    )
    told_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.rule}: {self.state}"


class AlertEvent(models.Model):
    """What happened to an alert, for good."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(db_default=Now())
    event = models.CharField(
        max_length=16,
        help_text="fired, cleared, no_data, data_back, reminded, acknowledged or silenced.",
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


class AlertChannel(models.Model):
    """Where alerts are sent, beside the addresses of ALERT_EMAILS."""

    class Kind(models.TextChoices):
        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook", "webhook (JSON, signed)"
        SLACK = "slack", "webhook in the shape of Slack"

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=16, choices=Kind)
    address = models.CharField(
        max_length=500, help_text="An e-mail address, or an https address that takes a POST."
    )
    secret = models.CharField(
        max_length=200,
        blank=True,
        help_text="Webhooks are signed with it; 16 characters at least.",
    )
    critical_only = models.BooleanField(default=False)
    group_wait_s = models.PositiveIntegerField(
        default=10, help_text="Seconds to wait for others, so that they come in one message."
    )
    remind_after_s = models.PositiveIntegerField(
        default=14_400, help_text="Seconds after which it says again what still fires; 0 never."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.kind == self.Kind.EMAIL:
            try:
                validate_email(self.address)
            except ValidationError:
                raise ValidationError(
                    {"address": f"{self.address!r} is no e-mail address."}
                ) from None
            return
        try:
            check_address(self.address)
        except AddressRefused as error:
            raise ValidationError({"address": str(error)}) from None
        if self.kind == self.Kind.WEBHOOK and len(self.secret) < SHORTEST_SECRET:
            raise ValidationError(
                {"secret": f"It has {len(self.secret)} characters; it needs {SHORTEST_SECRET}."}
            )


class AlertMessage(models.Model):
    """The outbox: a message that is still to be sent, or was. Written with its event, or not.

    Messages to one address that are due go out together, as one batch; a batch that could not be
    sent is tried again as it was, under the same number, so that a receiver knows it.
    """

    event = models.ForeignKey(AlertEvent, on_delete=models.CASCADE, related_name="messages")
    target = models.ForeignKey(
        AlertChannel, on_delete=models.CASCADE, null=True, related_name="messages",
        help_text="None for an address of ALERT_EMAILS.",
    )  # fmt: skip
    channel = models.CharField(max_length=16, help_text="email, webhook or slack")
    recipient = models.CharField(max_length=500)
    batch = models.UUIDField(null=True)
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
