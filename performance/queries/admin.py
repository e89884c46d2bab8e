from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from performance.queries.models import QueryShape


@admin.register(QueryShape)
class QueryShapeAdmin(admin.ModelAdmin[QueryShape]):
    list_display = ["sql", "calls", "total_ms", "mean_ms", "rows", "first_seen_at"]
    search_fields = ["sql"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
