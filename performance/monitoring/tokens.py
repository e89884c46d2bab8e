"""Who may ask the API: staff by their session, programs by a token that acts for one user."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.utils import check_csrf

from performance.monitoring.errors import BadInput
from performance.monitoring.models import ApiToken

APP = "performance_monitoring"
NOTED_EVERY = timedelta(minutes=1)
LONGEST_DAYS = 730


def issue(*, name: str, user: User, may_act: bool, days: int) -> str:
    """Make a token for `user` and return it; only its hash is kept, so it is shown this once.

    256 random bits need no slow hash. Raises BadInput.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise BadInput("days", days, f"a number from 1 to {LONGEST_DAYS}")
    if ApiToken.objects.filter(name=name).exists():
        raise BadInput("name", name, "a name that no token has yet")
    token = secrets.token_urlsafe(32)
    ApiToken.objects.create(
        name=name,
        digest=digest(token),
        user=user,
        may_act=may_act,
        expires_at=datetime.now(UTC) + timedelta(days=days),
    )
    return token


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class StaffOrToken(HttpBearer):
    """Lets in who has `permission` of this app: staff with a session, or a token of their own.

    A session that would change something must bring its CSRF token too; a bearer need not, as no
    browser sends that by itself. One query for a token.
    """

    def __init__(self, permission: str, *, acts: bool = False) -> None:
        super().__init__()
        self.permission = permission
        self.acts = acts

    def __call__(self, request: HttpRequest) -> User:
        given = request.headers.get("Authorization", "")
        kind, _, token = given.partition(" ")
        user = self.authenticate(request, token) if given else _of_session(request)
        if given and kind.lower() != "bearer":
            raise BadInput("Authorization", kind[:20], "`Bearer <token>`", status=401)
        permission = f"{APP}.{self.permission}"
        if not user.has_perm(permission):
            message = f"This needs the permission {permission}, which {user} does not have."
            raise BadInput("Authorization", None, permission, message, 403)
        request.user = user
        return user

    def authenticate(self, request: HttpRequest, token: str) -> User:
        now = datetime.now(UTC)
        row = (
            ApiToken.objects.select_related("user")
            .filter(digest=digest(token), expires_at__gt=now)
            .first()
        )
        if row is None or not (row.user.is_active and row.user.is_staff):
            message = "The token is unknown, expired or its user is no longer staff."
            raise BadInput("Authorization", None, "a valid token", message, 401)
        if self.acts and not row.may_act:
            message = f"The token {row.name!r} may only read. Make one by `make_api_token --act`."
            raise BadInput("Authorization", None, "a token that may act", message, 403)
        if row.last_used_at is None or now - row.last_used_at > NOTED_EVERY:
            ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
        return row.user


def _of_session(request: HttpRequest) -> User:
    user = request.user
    if not (isinstance(user, User) and user.is_active and user.is_staff):
        message = "Log in as staff, or send `Authorization: Bearer <token>`."
        raise BadInput("Authorization", None, "a staff session or a token", message, 401)
    if request.method not in ("GET", "HEAD") and check_csrf(request) is not None:
        message = "A session must send its X-CSRFToken; a program should use a token instead."
        raise BadInput("X-CSRFToken", None, "the cookie's value", message, 403)
    return user
