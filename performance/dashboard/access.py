"""Who may keep a live page's socket: asked when it opens, at each change, and now and then."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from performance.core import broadcast

GROUP = "performance.access"
"""The Channels group that every socket of every page is in."""
SEND_LIMIT_S = (
    0.25  # a log-out must not hang when the bus does; the sockets look by themselves then
)

CLOSE_LOGGED_OUT = 4401
CLOSE_FORBIDDEN = 4403


def check(session_key: str | None, permission: str) -> tuple[int | None, int | None]:
    """Return (the user's id, None) when the session may see the page, else (None, close code).

    As the admin asks it: logged in, active, staff, and with the permission. Reads the session and
    the user anew, about 4 queries; raises DatabaseError when it cannot know.
    """
    if not session_key:
        return None, CLOSE_LOGGED_OUT
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user_model().objects.filter(pk=session.get(SESSION_KEY)).first()
    if user is None or not _is_current(user, session.get(HASH_SESSION_KEY, "")):
        return None, CLOSE_LOGGED_OUT
    if not (user.is_active and user.is_staff and user.has_perm(permission)):
        return None, CLOSE_FORBIDDEN
    return user.pk, None


def mark(session_key: str) -> str:
    """A session's name on the bus, from which the session cannot be had."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:32]


def connect() -> None:
    """Listen for what may end someone's access."""
    uid = "performance.dashboard.access"
    user_model = get_user_model()
    post_delete.connect(_session_ended, sender=Session, dispatch_uid=uid)
    post_save.connect(_user_saved, sender=user_model, dispatch_uid=uid)
    post_delete.connect(_user_deleted, sender=user_model, dispatch_uid=uid)
    for through in (user_model.groups.through, user_model.user_permissions.through):
        m2m_changed.connect(_rights_changed, sender=through, dispatch_uid=f"{uid}.{through}")
    m2m_changed.connect(_rights_changed, sender=Group.permissions.through, dispatch_uid=uid)
    for model in (Group, Permission):
        post_delete.connect(_rights_changed, sender=model, dispatch_uid=f"{uid}.{model}")


def _is_current(user: Any, session_hash: str) -> bool:
    """False after a password change, as in `django.contrib.auth.get_user`, but changing nothing."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, known) for known in hashes)


def _announce(**about: Any) -> None:
    message = {"type": "access.changed", **about}
    transaction.on_commit(
        lambda: broadcast.send(GROUP, message, limit_s=SEND_LIMIT_S) and None, robust=True
    )


def _session_ended(*, instance: Session, **kwargs: Any) -> None:
    if instance.expire_date <= timezone.now():
        return  # `clearsessions` sweeps thousands that nobody can be using
    if settings.SESSION_ENGINE.endswith("cached_db"):
        # A deleted row is a log-out, but the copy in the cache would go on answering.
        prefix = import_module(settings.SESSION_ENGINE).KEY_PREFIX
        caches[settings.SESSION_CACHE_ALIAS].delete(prefix + instance.session_key)
    _announce(session=mark(instance.session_key))


def _user_saved(
    *, instance: Any, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    if created or update_fields == frozenset({"last_login"}):  # each log-in writes that
        return
    _announce(user=instance.pk)


def _user_deleted(*, instance: Any, **kwargs: Any) -> None:
    _announce(user=instance.pk)


def _rights_changed(*, action: str = "post_delete", **kwargs: Any) -> None:
    if action.startswith("post_"):
        _announce(everyone=True)
