"""When nobody is to be told: silences with an end and a reason, and windows of each week."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from performance.monitoring.alert_models import AlertRule

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In Python's order: Monday is 0."""
LONGEST_SILENCE = timedelta(days=90)
"""What should be quiet for longer is a rule to be switched off."""
PATTERNS = "Patterns with *, with commas between; `!admin/*` leaves out. Empty takes all"


class Matcher(models.Model):
    """Which alerts are meant: those that all filled fields match; with none filled, every alert."""

    rule = models.ForeignKey(
        AlertRule, on_delete=models.CASCADE, null=True, blank=True, related_name="+",
        help_text="Empty takes all.",
    )  # fmt: skip
    route = models.CharField(
        max_length=200, blank=True,
        help_text=f"{PATTERNS}. Of the worst route when it fired, such as `api/*` or "
        "`POST api/*`; alerts that are about no route are not meant then.",
    )  # fmt: skip
    severity = models.CharField(max_length=8, choices=AlertRule.Severity, blank=True)
    node = models.CharField(
        max_length=200, blank=True,
        help_text=f"{PATTERNS}. Of the node that was the worst when it fired, such as `web-*`; "
        "alerts that are about no node are not meant then.",
    )  # fmt: skip

    class Meta:
        abstract = True

    def in_words(self) -> str:
        """Say which alerts are meant; a query when `rule` was not selected with it."""
        parts = [
            f"rule {self.rule}" if self.rule_id else "",
            f"route {self.route}" if self.route else "",
            f"severity {self.severity}" if self.severity else "",
            f"node {self.node}" if self.node else "",
        ]
        return ", ".join(part for part in parts if part) or "every alert"


class AlertSilence(Matcher):
    """One stretch of time, now or planned, in which nobody is told of what it matches.

    The alerts' states and history go on. It is ended early by moving its end to now.
    """

    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150, help_text="Who made it.")
    ended_by = models.CharField(max_length=150, blank=True, help_text="Who ended it early.")

    class Meta:
        ordering = ["-ends_at"]
        indexes = [models.Index(fields=["-ends_at"], name="alert_silence_newest")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gte=models.F("starts_at")),
                name="silence_ends_after_it_starts",
            )
        ]

    def __str__(self) -> str:
        return f"{self.in_words()} until {self.ends_at:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        if self.starts_at is None or self.ends_at is None:
            return  # the fields' own errors say so
        if self.ends_at <= self.starts_at:
            raise ValidationError(
                {"ends_at": f"It ends at {self.ends_at:%Y-%m-%d %H:%M}, and must end after "
                            f"it starts, at {self.starts_at:%Y-%m-%d %H:%M} UTC."}
            )  # fmt: skip
        length = self.ends_at - self.starts_at
        if length > LONGEST_SILENCE:
            raise ValidationError(
                {"ends_at": f"It lasts {length.days} days, "
                            f"{LONGEST_SILENCE.days} are allowed; switch the rule off instead."}
            )  # fmt: skip


class MuteWindow(Matcher):
    """Hours of some days of each week in which nobody is told, such as those of maintenance.

    `ends` at or before `begins` is on the next day; the weekdays are those on which it begins.
    """

    name = models.CharField(max_length=80, unique=True)
    weekdays = models.CharField(
        max_length=27, default=",".join(WEEKDAYS), help_text="The days on which it begins."
    )
    begins = models.TimeField()
    ends = models.TimeField(help_text="At or before the beginning means on the next day.")
    zone = models.CharField(
        max_length=64, default="UTC", help_text="Whose clock it is, such as Europe/Warsaw."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        self.clean()  # however it is made: the monitor reckons with it each second
        super().save(*args, **options)

    @property
    def days(self) -> list[str]:
        return [day for day in self.weekdays.split(",") if day]

    def when_in_words(self) -> str:
        """Say when, such as `sat, sun 22:00 to 02:00 UTC`."""
        days = "every day" if len(self.days) == len(WEEKDAYS) else ", ".join(self.days)
        return f"{days} {self.begins:%H:%M} to {self.ends:%H:%M} {self.zone}"

    def clean(self) -> None:
        unknown = sorted(set(self.days) - set(WEEKDAYS))
        if unknown or not self.days:
            raise ValidationError(
                {"weekdays": f"{', '.join(unknown) or 'Nothing'} is no weekday; "
                             f"name some of: {', '.join(WEEKDAYS)}."}
            )  # fmt: skip
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError(
                {"zone": f"{self.zone!r} is no time zone; write UTC or such as Europe/Warsaw."}
            ) from None
