"""Guessing passwords at the admin's door: slowed for one name, from one address."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse

from performance.core import limits
from performance.core.addresses import client_address
from performance.dashboard.conf import conf


def refuse_flood(request: HttpRequest) -> HttpResponse | None:
    """Count a log-in that is tried; return the 429 when there were too many, else None.

    The right password is refused too while it lasts, so a guesser learns nothing. It is counted
    by name *and* address: a stranger cannot lock someone out from elsewhere.
    """
    if request.method != "POST":
        return None
    waiting_s = limits.hit(
        _counter(request), limit=conf().wrong_logins, window_s=conf().wrong_password_window_s
    )
    if waiting_s is None:
        return None
    return HttpResponse(
        f"Too many log-ins were tried. Wait {waiting_s} s, then try again.\n",
        status=429,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(waiting_s)},
    )


def _counter(request: HttpRequest) -> str:
    name = request.POST.get("username", "").strip().lower()
    return f"login:{client_address(request)}:{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _forget(*, request: HttpRequest | None, **kwargs: Any) -> None:
    if request is not None and request.method == "POST":
        limits.forget(_counter(request))


def connect() -> None:
    user_logged_in.connect(_forget, dispatch_uid="performance.dashboard.login")
