"""Statements that the server has seen, and what they cost from minute to minute."""

from __future__ import annotations

from django.db import models


class QueryShape(models.Model):
    """One SQL statement with its literals stripped, and what all its runs have cost.

    `WHERE id = 7` and `WHERE id = 8` are the same shape. Times are milliseconds. The totals are
    the server's own when we last looked; the history is made of their differences, so the
    server's statistics are never reset by us.
    """

    query_id = models.BigIntegerField(unique=True, help_text="The server's own queryid.")
    sql = models.TextField(help_text="The statement, with ? for each literal.")
    calls = models.PositiveBigIntegerField(default=0)
    total_ms = models.FloatField(default=0.0)
    rows = models.PositiveBigIntegerField(default=0)
    first_seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["-total_ms"], name="query_shape_costliest")]
        permissions = [
            ("view_queries", "Can see the queries page"),
            ("cancel_query", "Can cancel a running statement"),
            ("terminate_backend", "Can end a database connection"),
            ("explain_query", "Can run a reading statement under EXPLAIN ANALYZE"),
        ]

    def __str__(self) -> str:
        return f"{self.sql[:60]}: {self.calls} calls, {self.mean_ms:.1f} ms each"

    @property
    def mean_ms(self) -> float:
        return self.total_ms / self.calls if self.calls else 0.0


class QueryMinute(models.Model):
    """What one shape cost within one minute."""

    shape = models.ForeignKey(QueryShape, models.CASCADE, related_name="minutes")
    minute = models.DateTimeField()
    calls = models.PositiveIntegerField()
    total_ms = models.FloatField()
    rows = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["shape", "minute"], name="one_row_a_shape_and_minute")
        ]
        indexes = [models.Index(fields=["minute"], name="query_minutes_by_age")]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}: {self.calls} calls"


class TableDay(models.Model):
    """How large a table was on one day, its partitions added up: growth is the difference."""

    table = models.CharField(max_length=63)
    day = models.DateField()
    size_bytes = models.BigIntegerField(help_text="With indexes and TOAST.")
    rows = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["table", "day"], name="one_row_a_table_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.table} on {self.day:%Y-%m-%d}: {self.size_bytes} bytes"
