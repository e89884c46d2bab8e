"""Odds in the admin: what feeds write is only read here; what staff decide is invalidated.

PriceChange is not here: Django's admin takes no model with a composite key. The event's page draws
its history.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest

from odds import services
from odds.models import (
    Bookmaker,
    Event,
    FeedCursor,
    Opportunity,
    OutboxMessage,
    Price,
    RefusedQuote,
    Sport,
)
from performance.core.admin import ReadOnlyAdmin


class ReadOnly(ReadOnlyAdmin):
    """For what feeds write: a hand in it would be undone by the next batch, or make history lie."""

    show_full_result_count = False  # counting millions of prices for a footer costs seconds
    list_per_page = 50


class FromFeeds(admin.ModelAdmin[Any]):
    """For what feeds add and staff may correct; nobody adds it by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Sport)
class SportAdmin(FromFeeds):
    list_display = ("title", "key", "group", "active", "has_outrights")
    list_filter = ("active", "group")
    search_fields = ("key", "title")
    readonly_fields = ("key",)

    def save_model(
        self, request: HttpRequest, obj: Sport, form: ModelForm[Sport], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        services.forget_sport(obj.key)


@admin.register(Bookmaker)
class BookmakerAdmin(FromFeeds):
    list_display = ("title", "key", "active", "is_exchange", "commission")
    list_filter = ("active", "is_exchange")
    search_fields = ("key", "title")
    readonly_fields = ("key",)

    def save_model(
        self, request: HttpRequest, obj: Bookmaker, form: ModelForm[Bookmaker], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        services.judge_bookmaker_anew(obj.pk)


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ("__str__", "sport", "commence_time", "date_only", "key")
    list_filter = ("sport",)
    list_select_related = ("sport",)
    search_fields = ("key", "home_team", "away_team")
    date_hierarchy = None  # it would read every event to name the years


@admin.register(Price)
class PriceAdmin(ReadOnly):
    list_display = (
        "event",
        "bookmaker",
        "market",
        "outcome",
        "point",
        "price",
        "last_update",
        "suspended_at",
    )
    list_select_related = ("event", "bookmaker")
    search_fields = ("event__key__exact",)
    search_help_text = "The key of an event."
    raw_id_fields = ("event", "bookmaker")
    ordering = ("-id",)


@admin.register(Opportunity)
class OpportunityAdmin(ReadOnly):
    list_display = (
        "event",
        "market",
        "point",
        "roi_pct",
        "suspect",
        "needs_exchange",
        "first_seen_at",
        "last_seen_at",
        "closed_at",
    )
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "market", "needs_exchange")
    list_select_related = ("event",)
    search_fields = ("event__key__exact", "event__home_team", "event__away_team")
    raw_id_fields = ("event",)
    ordering = ("-id",)


@admin.register(RefusedQuote)
class RefusedQuoteAdmin(ReadOnly):
    list_display = ("last_seen_at", "source", "reason", "times", "first_seen_at")
    list_filter = ("source",)
    search_fields = ("reason",)


@admin.register(FeedCursor)
class FeedCursorAdmin(ReadOnly):
    list_display = ("source", "updated_at")


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly):
    list_display = ("id", "created_at", "tags")
