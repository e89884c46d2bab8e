"""Who sits at the keyboard: dangerous acts want a password that was given a short while ago."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from performance.core import limits
from performance.dashboard.conf import conf

CONFIRMED_AT = "performance_confirmed_at"


def is_recent(request: HttpRequest) -> bool:
    """True when this session's log-in or confirmation is younger than `confirm_after_s`."""
    age_s = time.time() - float(request.session.get(CONFIRMED_AT, 0))
    return 0 <= age_s < conf().confirm_after_s


def confirm(request: HttpRequest, password: str) -> str | None:
    """Take the password; return None when it is right, else what to say. Costs one hash."""
    name = f"confirm:{request.user.pk}"
    allowed, window_s = conf().wrong_passwords, conf().wrong_password_window_s
    if not password:
        return "This act needs your password again."
    waiting_s = limits.hit(
        name, limit=allowed, window_s=window_s
    )  # first: guesses may come at once
    if waiting_s is not None:
        return f"Too many wrong passwords. Try again in {waiting_s // 60 + 1} min."
    if not request.user.check_password(password):
        return "That is not your password. Nothing was done."
    limits.forget(name)
    request.session[CONFIRMED_AT] = time.time()
    return None


def _note(*, request: HttpRequest | None, user: AbstractBaseUser, **kwargs: Any) -> None:
    if request is not None and hasattr(request, "session"):
        request.session[CONFIRMED_AT] = time.time()


def connect() -> None:
    user_logged_in.connect(_note, dispatch_uid="performance.dashboard.confirmation")
