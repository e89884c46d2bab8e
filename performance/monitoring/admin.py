from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST

from performance.core import context
from performance.core.admin import ReadOnlyAdmin
from performance.monitoring.models import (
    AlertChannel,
    AlertEvent,
    AlertMessage,
    AlertRule,
    AlertSilence,
    ApiToken,
    Deploy,
    ErrorGroup,
    MuteWindow,
    RequestSample,
)
from performance.monitoring.quiet_models import WEEKDAYS
from performance.monitoring.services import monitor


@admin.register(AlertRule)
class AlertRuleAdmin(admin.ModelAdmin[AlertRule]):
    list_display = ("name", "metric", "aggregate", "comparison", "fire_at", "severity", "enabled")
    list_filter = ("enabled", "severity", "metric")
    search_fields = ("name", "selector")
    filter_horizontal = ("inhibited_by",)
    fieldsets = (
        (None, {"fields": ("name", "enabled", "severity")}),
        ("What", {"fields": ("metric", "selector", "aggregate", "basis")}),
        ("Error budget", {"fields": ("objective", "slow_ms", "burn"), "classes": ("collapse",)}),
        ("When", {"fields": ("comparison", "fire_at", "clear_at", "for_s", "keep_firing_s")}),
        ("Without data", {"fields": ("no_data",)}),
        ("Who is not told", {"fields": ("inhibited_by",)}),
    )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(require_POST(self.preview))
        address = "performance_monitoring_alertrule_preview"
        return [path("preview/", view, name=address), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Show what the form's rule, saved or not, would have done in the last day."""
        if not (self.has_change_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied("Trying a rule out needs the permission to change one.")
        known = AlertRule.objects.filter(name=request.POST.get("name", "")).first()
        form = self.get_form(request)(request.POST, instance=known)
        context = {
            **self.admin_site.each_context(request),
            "title": "Preview over the last day",
            "form": form,
            "found": monitor.preview(form.save(commit=False)) if form.is_valid() else None,
            "rule": form.instance,
        }
        template = "admin/performance_monitoring/alertrule/preview.html"
        return TemplateResponse(request, template, context)


@admin.register(AlertSilence)
class AlertSilenceAdmin(admin.ModelAdmin[AlertSilence]):
    """None is deleted: what was silenced, by whom and why stays to be read."""

    list_display = ("__str__", "starts_at", "ends_at", "reason", "by", "ended_by")
    list_filter = ("severity", ("ends_at", admin.DateFieldListFilter))
    list_select_related = ("rule",)
    search_fields = ("reason", "by", "rule__name")
    readonly_fields = ("by", "ended_by")
    actions = ("end_now",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        now = timezone.now().replace(second=0, microsecond=0)
        known = {"starts_at": now, "ends_at": now + timedelta(hours=1)}
        return known | super().get_changeform_initial_data(request)

    def save_model(self, request: HttpRequest, obj: AlertSilence, form: Any, change: bool) -> None:
        if not change:
            obj.by = request.user.get_username()
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="End them now", permissions=["change"])
    def end_now(self, request: HttpRequest, chosen: QuerySet[AlertSilence]) -> None:
        before = context.actor.set(request.user.get_username())
        try:
            for silence in chosen.filter(ends_at__gt=timezone.now()):
                self.message_user(request, monitor.end_silence(silence))
        finally:
            context.actor.reset(before)


class MuteWindowForm(forms.ModelForm[MuteWindow]):
    weekdays = forms.MultipleChoiceField(
        choices=[(day, day) for day in WEEKDAYS],
        widget=forms.CheckboxSelectMultiple,
        help_text="The days on which it begins.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["weekdays"] = self.instance.days

    def clean_weekdays(self) -> str:
        return ",".join(self.cleaned_data["weekdays"])


@admin.register(MuteWindow)
class MuteWindowAdmin(admin.ModelAdmin[MuteWindow]):
    form = MuteWindowForm
    list_display = ("name", "when_in_words", "in_words", "enabled")
    list_filter = ("enabled",)
    list_select_related = ("rule",)
    fieldsets = (
        (None, {"fields": ("name", "enabled")}),
        ("When", {"fields": ("weekdays", "begins", "ends", "zone")}),
        ("Which alerts", {"fields": ("rule", "route", "severity", "node")}),
    )


@admin.register(AlertChannel)
class AlertChannelAdmin(admin.ModelAdmin[AlertChannel]):
    list_display = ("name", "kind", "critical_only", "group_wait_s", "remind_after_s", "enabled")
    list_filter = ("kind", "enabled")

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "secret":
            kwargs["widget"] = forms.PasswordInput(render_value=True)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(AlertMessage)
class AlertMessageAdmin(ReadOnlyAdmin):
    """The outbox: what is still to be sent, what was, and why it was not."""

    list_display = ("event", "channel", "receiver", "attempts", "next_try_at", "sent_at",
                    "last_error")  # fmt: skip
    list_filter = ("channel", ("sent_at", admin.EmptyFieldListFilter))
    list_select_related = ("event", "target")
    exclude = ("recipient",)  # a webhook's address may hold a key
    ordering = ("-id",)

    @admin.display(description="to")
    def receiver(self, row: AlertMessage) -> str:
        return row.target.name if row.target is not None else row.recipient


@admin.register(AlertEvent)
class AlertEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "rule", "event", "text", "by")
    list_filter = ("event",)
    list_select_related = ("rule",)
    search_fields = ("text",)


@admin.register(RequestSample)
class RequestSampleAdmin(ReadOnlyAdmin):
    list_display = ("at", "route", "status", "duration_ms", "sql_ms", "sql_count", "cache_ms",
                    "http_ms", "render_ms", "user_id", "node")  # fmt: skip
    list_filter = ("status",)
    search_fields = ("route", "error")
    show_full_result_count = False  # counting every partition is not worth a number


@admin.register(ErrorGroup)
class ErrorGroupAdmin(ReadOnlyAdmin):
    list_display = ("kind", "place", "times", "endpoint", "message", "last_seen_at")
    search_fields = ("kind", "place", "message", "endpoint")


@admin.register(Deploy)
class DeployAdmin(ReadOnlyAdmin):
    list_display = ("build", "at")


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin[ApiToken]):
    """Made by `manage.py make_api_token`, which can show one; here they are ended."""

    list_display = ("name", "user", "may_act", "expires_at", "last_used_at")
    readonly_fields = ("name", "user", "may_act", "created_at", "last_used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
