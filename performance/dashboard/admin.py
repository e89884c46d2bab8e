from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from performance.dashboard.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin[AuditEntry]):
    """The audit, to read; the database refuses anything else too."""

    list_display = ("number", "at", "who", "act", "state", "result", "address")
    list_filter = ("state", "act")
    search_fields = ("=run", "who", "result")
    actions = None
    show_full_result_count = False  # the audit only grows

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
