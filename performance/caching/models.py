"""What staff may set for a cache while it runs."""

from __future__ import annotations

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from performance.caching import rules
from performance.caching.errors import UnusableRule
from performance.caching.policy import STRATEGIES
from performance.caching.statements import tables_of


class CacheConfig(models.Model):
    """One family's settings in place of those in the code, in every process within a second.

    Without a row the code's own settings hold; deleting the row brings them back.
    """

    cache_key = models.CharField(
        max_length=120, unique=True, help_text="The family's name, such as board or preset.api."
    )
    ttl_seconds = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="How long a value counts as fresh."
    )
    strategy = models.CharField(
        max_length=10,
        choices=[(strategy, strategy) for strategy in STRATEGIES],
        default="redis",
        help_text="memory: each process for itself. redis: memory and the shared store. "
        "cdn: both, and the edge may keep it.",
    )
    invalidation_rules = models.JSONField(
        default=list,
        blank=True,
        help_text='A list such as ["tag:sport:soccer_epl", "every:60s"].',
    )
    compression_enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(
        default=1, help_text="Raise it, and everything stored before is a miss."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["cache_key"]
        permissions = [
            ("view_cache", "Can see the live page of the caches"),
            ("purge_cache", "Can purge caches"),
            ("warm_cache", "Can warm caches"),
            ("inspect_cache", "Can read what single keys of the caches hold"),
        ]

    def __str__(self) -> str:
        return f"{self.cache_key}: {self.ttl_seconds} s, {self.strategy}"

    def clean(self) -> None:
        """Refuse rules that say nothing, or that name a model which is not there."""
        try:
            parsed = rules.parse(self.invalidation_rules)
        except UnusableRule as error:
            raise ValidationError({"invalidation_rules": str(error)}) from None
        for label in parsed.models:
            if not tables_of(label):
                known = ", ".join(sorted(model._meta.label for model in apps.get_models()))
                raise ValidationError(
                    {"invalidation_rules": f"There is no model {label!r}. There are: {known}."}
                )
