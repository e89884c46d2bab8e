"""A page and acts of the tests' own, registered for the time of a test."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import path

from performance.core import acts, pages
from performance.core.errors import PerformanceError

PASSWORD = "correct horse battery"
MAY_SEE = "performance_dashboard.view_auditentry"
MAY_DO = "auth.add_group"


class Demo(pages.Page):
    slug = "demo"
    title = "Demo"
    permission = MAY_SEE
    acts = ("demo.press", "demo.burn")
    numbers: ClassVar[dict[str, Any]] = {"requests_per_s": 12.5}

    @property
    def template_name(self) -> str:
        return "performance/page.html"

    def snapshot(self) -> dict[str, Any]:
        return dict(self.numbers)


class PressForm(forms.Form):
    name = forms.CharField(max_length=20)
    times = forms.IntegerField(min_value=1, max_value=9, initial=1)


@dataclass
class Pressed:
    """What the acts of the tests did."""

    calls: list[tuple[str, int]] = field(default_factory=list)

    def press(self, name: str, times: int) -> str:
        if name == "stuck":
            raise PerformanceError("The button is stuck. Oil it.")
        if name == "broken":
            raise RuntimeError("no such wire")
        self.calls.append((name, times))
        return f"Pressed {name} {times} times."

    def burn(self) -> str:
        self.calls.append(("burn", 1))
        return "Burnt."


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.setattr(pages, "_pages", {**pages._pages})
    return pages.get(pages.register(Demo).slug)


@pytest.fixture
def pressed(monkeypatch):
    monkeypatch.setattr(acts, "_acts", {**acts._acts})
    done = Pressed()
    acts.register(
        acts.Act(
            name="demo.press",
            title="Press",
            permission=MAY_DO,
            form=PressForm,
            run=done.press,
            preview=lambda name, times: f"{name} would be pressed {times} times.",
        )
    )
    acts.register(
        acts.Act(name="demo.burn", title="Burn", permission=MAY_DO, run=done.burn, dangerous=True)
    )
    return done


URLS = ModuleType("dashboard_urls")
URLS.urlpatterns = [path("admin/", admin.site.urls)]
sys.modules[URLS.__name__] = URLS


@pytest.fixture(autouse=True)
def _admin_alone(settings):
    """The frame needs no other URLs; and passwords are hashed quickly."""
    settings.ROOT_URLCONF = URLS.__name__
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def make_user(db):
    def make(name="anna", *permissions, is_staff=True, **more):
        user = get_user_model().objects.create_user(
            name, password=PASSWORD, is_staff=is_staff, **more
        )
        for permission in permissions:
            app, codename = permission.split(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
        return user

    return make
