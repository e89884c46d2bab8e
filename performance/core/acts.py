"""The one register of what staff may do on live pages: purge, warm, drain, scale, cancel, silence.

A room registers its acts in its own pages.py; the dashboard runs them. So that permission,
re-authentication and audit are written once, no room has a POST view of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms


class NoFields(forms.Form):
    """The form of an act that needs no input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that staff can do. `run` gets the form's cleaned data and returns what happened."""

    name: str
    """Dotted and stable, such as `cache.purge`: it is the URL and what the audit keeps."""
    title: str
    """What the button says, such as "Purge"."""
    permission: str
    """`app_label.codename`; never the one that merely shows the page."""
    run: Callable[..., str]
    """Called as `run(**cleaned_data)`; returns one sentence for the person who pressed the button.

    It raises PerformanceError with a remedy when it cannot; that is shown and audited too.
    """
    form: type[forms.Form] = NoFields
    dangerous: bool = False
    """True asks for the password again when the last log-in is older than 15 minutes."""
    preview: Callable[..., str] | None = None
    """Called like `run`; says what would happen and changes nothing."""
    initial: Mapping[str, Any] = field(default_factory=dict)


_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_acts: dict[str, Act] = {}


def register(act: Act) -> Act:
    """Add an act; ValueError when its name is taken or no URL could carry it."""
    if not _NAME.fullmatch(act.name):
        raise ValueError(f"An act cannot be called {act.name!r}; it looks like `cache.purge`.")
    known = _acts.get(act.name)
    if known is not None and known.run.__module__ != act.run.__module__:
        raise ValueError(
            f"Two acts are called {act.name!r}, in {known.run.__module__} and {act.run.__module__}."
        )
    _acts[act.name] = act
    return act


def get(name: str) -> Act | None:
    return _acts.get(name)


def all_acts() -> list[Act]:
    return sorted(_acts.values(), key=lambda act: act.name)
