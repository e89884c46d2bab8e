from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from performance.cdn.models import Purge, StaticBuild


class ReadOnly:
    """Rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Purge)
class PurgeAdmin(ReadOnly, admin.ModelAdmin[Purge]):
    list_display = ["created_at", "provider", "items", "soft", "state", "attempts", "answer"]
    list_filter = ["state", "provider"]


@admin.register(StaticBuild)
class StaticBuildAdmin(ReadOnly, admin.ModelAdmin[StaticBuild]):
    list_display = ["published_at", "manifest_hash", "target"]
