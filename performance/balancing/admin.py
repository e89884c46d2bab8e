"""What was decided, to read and to search; nothing here can be changed by hand."""

from __future__ import annotations

from django.contrib import admin

from performance.balancing.models import Decision, DrainOrder, ScaleTarget
from performance.core.admin import ReadOnlyAdmin


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "kind", "node_id", "before", "after", "reason", "by"]
    list_filter = ["action", "kind"]
    search_fields = ["node_id", "reason", "by"]
    date_hierarchy = "at"


@admin.register(DrainOrder)
class DrainOrderAdmin(ReadOnlyAdmin):
    list_display = ["node_id", "kind", "stop", "by", "asked_at", "done_at", "outcome"]


@admin.register(ScaleTarget)
class ScaleTargetAdmin(ReadOnlyAdmin):
    list_display = ["kind", "count", "by", "set_at"]
