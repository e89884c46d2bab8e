from __future__ import annotations

from django.contrib import admin

from performance.core.admin import ReadOnlyAdmin
from performance.dashboard.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The audit, to read; the database refuses anything else too."""

    list_display = ("number", "at", "who", "act", "state", "result", "address")
    list_filter = ("state", "act")
    search_fields = ("=run", "who", "result")
    actions = None
    show_full_result_count = False  # the audit only grows
