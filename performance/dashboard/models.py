from __future__ import annotations

from django.db import models


class AuditEntry(models.Model):
    """One line of what staff did or tried: `began` before an act runs, `done` or `failed` after.

    Lines are only ever added: a trigger refuses UPDATE, DELETE and TRUNCATE, and each line holds
    the hash of the one before, so that a superuser's hand shows too (`manage.py verify_audit`).
    The table is made by SQL and not managed by Django, whose `flush` would truncate it.
    """

    class State(models.TextChoices):
        BEGAN = "began", "began"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        DENIED = "denied", "denied"

    number = models.BigIntegerField(primary_key=True, help_text="1, 2, 3 … without a gap.")
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices)
    act = models.CharField(max_length=100)
    run = models.CharField(
        max_length=32, help_text="The form's key; one act with one key runs at most once."
    )
    who_id = models.BigIntegerField(null=True, help_text="No foreign key: it outlives the account.")
    who = models.CharField(max_length=150)
    address = models.CharField(max_length=45)
    given = models.TextField(help_text="The form's values, as JSON.")
    result = models.TextField(blank=True)
    previous = models.CharField(max_length=64, help_text="The hash of the line before.")
    hash = models.CharField(max_length=64)

    class Meta:
        managed = False
        db_table = "performance_dashboard_auditentry"
        default_permissions = ("view",)
        ordering = ("-number",)
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.number}: {self.who} {self.act} {self.state}"
