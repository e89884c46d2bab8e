"""What would only show on a page that someone opens, said at start."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core import checks

from performance.core import acts, pages


def register() -> None:
    checks.register(no_inline_style)
    checks.register(acts_exist)
    checks.register(permissions_exist)


def no_inline_style(**kwargs: Any) -> list[checks.CheckMessage]:
    """Django's changelist writes an inline style when both places for actions are off."""
    return [
        checks.Error(
            f"{type(model_admin).__name__} has actions_on_top and actions_on_bottom both off. "
            "Django then writes an inline <style>, which our Content-Security-Policy forbids.",
            hint="Leave one on; `actions = None` hides the bar without it.",
            obj=model_admin.model,
            id="performance_dashboard.E001",
        )
        for model_admin in admin.site._registry.values()
        if not (model_admin.actions_on_top or model_admin.actions_on_bottom)
    ]


def acts_exist(**kwargs: Any) -> list[checks.CheckMessage]:
    known = [act.name for act in acts.all_acts()]
    return [
        checks.Error(
            f"The page {page.slug!r} offers the act {name!r}, which nobody registers.",
            hint=f"There are: {', '.join(known) or 'none'}.",
            id="performance_dashboard.E002",
        )
        for page in pages.all_pages()
        for name in page.acts
        if name not in known
    ]


def permissions_exist(**kwargs: Any) -> list[checks.CheckMessage]:
    """A permission that no model declares is given to nobody: only superusers would see it."""
    declared = {
        f"{model._meta.app_label}.{codename}"
        for model in apps.get_models()
        for codename in (
            *(f"{verb}_{model._meta.model_name}" for verb in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        )
    }
    wanted = {page.permission: f"The page {page.slug!r}" for page in pages.all_pages()}
    wanted |= {act.permission: f"The act {act.name!r}" for act in acts.all_acts()}
    return [
        checks.Error(
            f"{who} needs the permission {permission!r}, which no model declares.",
            hint="Add it to Meta.permissions of a model of that app.",
            id="performance_dashboard.E003",
        )
        for permission, who in wanted.items()
        if permission not in declared
    ]
