from __future__ import annotations

from django.contrib import admin

from performance.core.admin import ReadOnlyAdmin
from performance.monitoring.models import AlertEvent, AlertRule, RequestSample


@admin.register(AlertRule)
class AlertRuleAdmin(admin.ModelAdmin[AlertRule]):
    list_display = ("name", "metric", "aggregate", "comparison", "fire_at", "severity", "enabled")
    list_filter = ("enabled", "severity", "metric")
    search_fields = ("name", "selector")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "severity")}),
        ("What", {"fields": ("metric", "selector", "aggregate")}),
        ("When", {"fields": ("comparison", "fire_at", "clear_at", "for_s", "keep_firing_s")}),
        ("Without data", {"fields": ("no_data",)}),
    )


@admin.register(RequestSample)
class RequestSampleAdmin(ReadOnlyAdmin):
    list_display = ("at", "route", "status", "duration_ms", "sql_ms", "sql_count", "cache_ms",
                    "user_id", "node")  # fmt: skip
    list_filter = ("status",)
    search_fields = ("route", "error")
    show_full_result_count = False  # counting every partition is not worth a number


@admin.register(AlertEvent)
class AlertEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "rule", "event", "text", "by")
    list_filter = ("event",)
    list_select_related = ("rule",)
    search_fields = ("text",)
