"""Tells the proxy which sessions and keys are staff's, so that they go first in a full house."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject

from performance.balancing.privilege import HEADER


@sync_and_async_middleware
def mark_privileged(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Mark answers to staff; asks no database: who was not looked up by the view is not marked."""
    if iscoroutinefunction(get_response):

        async def over_async(request: HttpRequest) -> HttpResponse:
            return _marked(request, await get_response(request))

        return over_async

    def over_sync(request: HttpRequest) -> HttpResponse:
        return _marked(request, get_response(request))

    return over_sync


def _marked(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = request.__dict__.get("_cached_user")
    if user is not None and user.is_active and user.is_staff:
        response.headers[HEADER] = "staff"
    return response
