from __future__ import annotations

from django.contrib import admin

from performance.cdn.models import Purge, StaticBuild
from performance.core.admin import ReadOnlyAdmin


@admin.register(Purge)
class PurgeAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "provider", "items", "soft", "state", "attempts", "answer"]
    list_filter = ["state", "provider"]


@admin.register(StaticBuild)
class StaticBuildAdmin(ReadOnlyAdmin):
    list_display = ["published_at", "manifest_hash", "target"]
