"""Reads to replicas, writes to the primary, and who wrote reads the primary for a while.

`settings.DATABASE_ROUTERS` names `Router`. Inside a transaction, and after a write, everything goes
to the primary: in the same request at once, in the same browser's next ones by a cookie that lives
`replica_pin_s`, which is longer than a replica in use may be behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from performance.queries import replicas
from performance.queries.conf import conf

COOKIE = "wrote"
_wrote: ContextVar[bool] = ContextVar("wrote", default=False)
T = TypeVar("T")


class Router:
    """Django's router; with no replica in DATABASES it says nothing and costs a microsecond."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        instance = hints.get("instance")
        if instance is not None and instance._state.db == DEFAULT_DB_ALIAS:
            return DEFAULT_DB_ALIAS  # what belongs to a row that came from there
        return place_to_read()

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        _wrote.set(True)
        return DEFAULT_DB_ALIAS

    def allow_relation(self, *objects: models.Model, **hints: Any) -> bool:
        return True  # all aliases are one database

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db.startswith(replicas.PREFIX) else None


def place_to_read() -> str:
    """Return the alias that this context should read from."""
    if _wrote.get() or connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return DEFAULT_DB_ALIAS
    return replicas.choose() or DEFAULT_DB_ALIAS


def note_write() -> None:
    """Say that this context has written by SQL of its own, which the router does not see."""
    _wrote.set(True)


def on_replica(read: Callable[[BaseDatabaseWrapper], T]) -> T:
    """Run `read(connection)` on a replica, or on the primary when there is none or it fails.

    For what may be a second old. `read` must only read: it runs twice when a replica dies under it.
    """
    alias = place_to_read()
    if alias == DEFAULT_DB_ALIAS:
        return read(connections[alias])
    try:
        return read(connections[alias])
    except (OperationalError, InterfaceError) as error:
        found = replicas.watch()
        if found is not None:
            found.leave_out(alias, f"a statement failed: {str(error).splitlines()[0]}")
        connections[alias].close()
        return read(connections[DEFAULT_DB_ALIAS])


@sync_and_async_middleware
def read_own_writes(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Keep a browser that wrote on the primary until every replica in use has its write."""

    def begin(request: HttpRequest) -> Any:
        return _wrote.set(COOKIE in request.COOKIES)

    def end(request: HttpRequest, response: HttpResponse, token: Any) -> HttpResponse:
        if _wrote.get() and COOKIE not in request.COOKIES and replicas.aliases():
            response.set_cookie(
                COOKIE,
                "1",
                max_age=int(conf().replica_pin_s),
                httponly=True,
                samesite="Lax",
                secure=settings.SESSION_COOKIE_SECURE,
            )
        _wrote.reset(token)
        return response

    if iscoroutinefunction(get_response):

        async def over_async(request: HttpRequest) -> HttpResponse:
            token = begin(request)
            awaitable: Awaitable[HttpResponse] = get_response(request)
            return end(request, await awaitable, token)

        return over_async

    def over_sync(request: HttpRequest) -> HttpResponse:
        token = begin(request)
        return end(request, get_response(request), token)

    return over_sync
