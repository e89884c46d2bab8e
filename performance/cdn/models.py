"""The ledger of purges, and the builds of static files that were published."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now


class Purge(models.Model):
    """One purge, from the moment it was asked for until the edge said yes or it was given up."""

    class Trouble(models.TextChoices):
        NONE = "", "none"
        CREDENTIALS = "credentials", "the key was refused"
        LIMIT = "limit", "its limit was reached"
        REFUSED = "refused", "it was refused"
        UNREACHABLE = "unreachable", "no answer"

    class State(models.TextChoices):
        PENDING = "pending", "waiting"
        SENT = "sent", "sent"
        FAILED = "failed", "given up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.CharField(max_length=20)
    urls = models.JSONField(default=list)
    tags = models.JSONField(default=list)
    everything = models.BooleanField(default=False, help_text="All that the edge holds of ours.")
    soft = models.BooleanField(default=True, help_text="Expire, and let the edge serve it stale.")
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    answer = models.TextField(blank=True, help_text="What the edge, or the error, said last.")
    trouble = models.CharField(max_length=12, choices=Trouble, default=Trouble.NONE, blank=True)
    calls = models.PositiveIntegerField(default=0, help_text="Requests to the provider.")
    cost_usd = models.DecimalField(max_digits=10, decimal_places=4, default=0)
    note = models.CharField(max_length=200, blank=True, help_text="What was made of the request.")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state="pending"),
                name="purges_to_send",
            ),
            models.Index(fields=["-created_at"], name="newest_purges"),
        ]
        permissions = [
            ("view_cdn", "Can see the CDN page"),
            ("send_purge", "Can purge at the edge"),
            ("purge_everything", "Can purge everything at the edge"),
            ("warm_edge", "Can fill the edge"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.items} items, {self.state}"

    @property
    def items(self) -> int:
        return len(self.urls) + len(self.tags) + self.everything


class PurgeUse(models.Model):
    """What one provider was asked on one day (UTC): it outlives the ledger's rows."""

    provider = models.CharField(max_length=20)
    day = models.DateField()
    purges = models.PositiveIntegerField(default=0)
    items = models.PositiveIntegerField(default=0)
    calls = models.PositiveIntegerField(default=0)
    billed = models.PositiveIntegerField(default=0, help_text="Items that may cost money.")
    cost_usd = models.DecimalField(max_digits=12, decimal_places=4, default=0)

    class Meta:
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "day"], name="one_use_a_provider_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.provider} on {self.day}: {self.items} items in {self.calls} calls"


class EdgeEvent(models.Model):
    """The moment an edge was taken out of the URLs, or came back."""

    provider = models.CharField(max_length=20)
    healthy = models.BooleanField()
    detail = models.CharField(max_length=200, help_text="What the deciding probe met.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["-at"], name="newest_edge_events")]

    def __str__(self) -> str:
        return f"{self.provider} {'came back' if self.healthy else 'was taken out'}: {self.detail}"


class StaticBuild(models.Model):
    """One published set of static files; `manifest_hash` names it."""

    manifest_hash = models.CharField(max_length=32, unique=True)
    target = models.CharField(max_length=200, help_text="A bucket, or the origin's own disk.")
    files = models.JSONField(help_text="Paths below the target, with their size in bytes.")
    bytes_by_encoding = models.JSONField(help_text="identity, gzip, br and zstd, in bytes.")
    published_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-published_at"]

    def __str__(self) -> str:
        return f"{self.manifest_hash}: {len(self.files)} files"
