"""Typed settings: one frozen dataclass per area, checked when it is first read."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

T = TypeVar("T")
_loaded: dict[str, Any] = {}


def load(cls: type[T], section: str) -> T:
    """Return `settings.PERFORMANCE[section]` as an instance of `cls`, defaults filled in.

    A name that `cls` does not have raises ImproperlyConfigured with the nearest one that it has.
    The instance is kept until the setting changes (`override_settings` in tests).
    """
    if section not in _loaded:
        given = getattr(settings, "PERFORMANCE", {}).get(section, {})
        _refuse_unknown(given, known=[field.name for field in fields(cls)], section=section)  # type: ignore[arg-type]
        _loaded[section] = cls(**given)
    loaded: T = _loaded[section]
    return loaded


def _refuse_unknown(given: dict[str, Any], *, known: list[str], section: str) -> None:
    for name in given.keys() - set(known):
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known)}."
        raise ImproperlyConfigured(f"PERFORMANCE[{section!r}] has no option {name!r}. {hint}")


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "PERFORMANCE":
        _loaded.clear()


setting_changed.connect(_forget)
