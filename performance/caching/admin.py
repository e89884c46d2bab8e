from __future__ import annotations

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from performance.caching.models import CacheConfig
from performance.caching.services import UnknownFamily, cache


class CacheConfigForm(forms.ModelForm[CacheConfig]):
    def clean_cache_key(self) -> str:
        name: str = self.cleaned_data["cache_key"]
        try:
            cache.family(name)
        except UnknownFamily as error:
            raise ValidationError(str(error)) from None
        return name


@admin.register(CacheConfig)
class CacheConfigAdmin(admin.ModelAdmin[CacheConfig]):
    form = CacheConfigForm
    list_display = [
        "cache_key",
        "ttl_seconds",
        "strategy",
        "compression_enabled",
        "version",
        "updated_at",
    ]
    list_filter = ["strategy"]
