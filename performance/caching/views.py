"""Whole answers of Django's views, cached: made for nobody, so that they can be given to all.

The view is run for a copy of the request without cookies, login and undeclared headers. An answer
that is for its asker only (it looks at the user or the session, sets a cookie, says private, or
varies with something undeclared) is never stored: the view is then run for the real request.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import cachebox
import msgspec
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.utils.cache import patch_cache_control
from django.utils.functional import SimpleLazyObject

from performance.caching.bodies import Body
from performance.caching.families import Family
from performance.caching.http import CACHE_NAME, OWN_HEADERS, Asked, answer, respond
from performance.caching.manager import cached

View = Callable[..., HttpResponseBase]

REMEMBERED = 4096
PERSONAL_FOR_S = 10.0
"""How long a page that was not for all is asked for itself, without trying again."""
_KEPT_HEADERS = frozenset({"HTTP_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"})
_OF_THE_ASKER = frozenset({"REMOTE_USER", "CSRF_COOKIE", "CSRF_COOKIE_NEEDS_UPDATE"})


class Page(msgspec.Struct, frozen=True, array_like=True):
    """A view's answer as it is stored."""

    body: Body
    content_type: str
    headers: tuple[tuple[str, str], ...]
    """What the view said besides what the cache says itself."""


class NotForAll(Exception):
    """The view's answer is its asker's own; `args[0]` says by what that was seen."""


def cached_view(
    name: str,
    *,
    query: Iterable[str] = (),
    vary: Iterable[str] = (),
    tags: Callable[..., Iterable[str]] | None = None,
    cdn: str | None = None,
    max_age_s: float = 1,
    **policy: Any,
) -> Callable[[View], View]:
    """Cache the answers of a view as the family `name`; `policy` as for `cached`.

    The key is scheme, host, path, the parameters that `query` declares, and the request headers
    that `vary` declares. Any other parameter, method or status passes the cache. `tags(**values)`
    gets what the URL gives to the view. A family without cdn="public" is kept here, and by each
    browser only to ask again.
    """
    parameters, headers = frozenset(query), tuple(vary)
    if any(header.lower() in ("cookie", "authorization") for header in headers):
        raise ImproperlyConfigured(
            f"cached_view {name!r} varies with {', '.join(headers)}: what depends on who asks is "
            "not for all. Cache the parts that do not, as families."
        )

    def decorate(view: View) -> View:
        @cached(
            name,
            schema=Page,
            cdn=cdn,
            tags=lambda *key: () if tags is None else tags(**dict(key[-1])),
            raises=(NotForAll,),
            **policy,
        )
        def page(
            place: str,
            path: str,
            parameters: tuple[tuple[str, str], ...],
            headers: tuple[str, ...],
            values: tuple[tuple[str, Any], ...],
        ) -> Page:
            raise NotForAll("a page is made for a request")

        return _View(view, page, parameters, headers, max_age_s).wrapped()

    return decorate


class _View:
    def __init__(
        self,
        view: View,
        family: Family[..., Page],
        parameters: frozenset[str],
        headers: tuple[str, ...],
        max_age_s: float,
    ) -> None:
        self._view = view
        self._family = family
        self._parameters = parameters
        self._headers = headers
        self._max_age_s = max_age_s
        self._personal: cachebox.LRUCache[Any, float] = cachebox.LRUCache(REMEMBERED)

    def wrapped(self) -> View:
        @functools.wraps(self._view)
        def view(request: HttpRequest, **values: Any) -> HttpResponseBase:
            return self(request, values)

        view.family = self._family  # type: ignore[attr-defined]
        return view

    def __call__(self, request: HttpRequest, values: dict[str, Any]) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD") or not self._parameters.issuperset(request.GET):
            return self._view(request, **values)
        key = self._key(request, values)
        if self._personal.get(key, 0.0) > time.monotonic():
            return self._for_its_asker(request, values)
        try:
            found = self._family.find_or(lambda: self._for_all(request, values), key)
        except NotForAll:
            self._personal.insert(key, time.monotonic() + PERSONAL_FOR_S)
            return self._for_its_asker(request, values)
        page: Page = found.held
        made = answer(
            self._family,
            key,
            msgspec.structs.replace(found, held=page.body),
            Asked.of(request),
            max_age_s=self._max_age_s,
            content_type=page.content_type,
            vary=self._headers,
        )
        response = respond(made)
        for name, value in page.headers:
            response.headers.setdefault(name, value)
        return response

    def _key(self, request: HttpRequest, values: dict[str, Any]) -> tuple[Any, ...]:
        return (
            f"{request.scheme}://{request.get_host()}",
            request.path,
            tuple(sorted((name, "\0".join(all_)) for name, all_ in request.GET.lists())),
            tuple(request.headers.get(name, "") for name in self._headers),
            tuple(sorted(values.items())),
        )

    def _for_its_asker(self, request: HttpRequest, values: dict[str, Any]) -> HttpResponseBase:
        response = self._view(request, **values)
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, private=True, no_cache=True)
        response["Cache-Status"] = f"{CACHE_NAME}; fwd=bypass"
        return response

    def _for_all(self, request: HttpRequest, values: dict[str, Any]) -> Page:
        """Run the view for nobody; NotForAll when its answer is not for all."""
        nobody = _nobody(request, self._headers)
        response = self._view(nobody, **values)
        if callable(render := getattr(response, "render", None)):
            response = render()
        reason = _personal_by(response, nobody, {name.lower() for name in self._headers})
        if reason is not None or not isinstance(response, HttpResponse):
            raise NotForAll(reason or "it is streamed")
        kept = [
            (header, value)
            for header, value in response.items()
            if header.lower() not in OWN_HEADERS
        ]
        encoded = self._family.cdn is not None
        return Page(
            Body.of(response.content, encoded=encoded).kept(),
            response["Content-Type"],
            tuple(kept),
        )


def _nobody(request: HttpRequest, headers: tuple[str, ...]) -> Any:
    """Return a copy of a request that says nothing of who asks."""
    declared = {f"HTTP_{name.upper().replace('-', '_')}" for name in headers} | _KEPT_HEADERS
    nobody: Any = copy.copy(request)
    nobody.META = {
        name: value
        for name, value in request.META.items()
        if name not in _OF_THE_ASKER and (not name.startswith("HTTP_") or name in declared)
    }
    nobody.META["REQUEST_METHOD"] = nobody.method = "GET"
    nobody.COOKIES = {}
    nobody.GET = QueryDict(request.GET.urlencode())
    nobody.looked_at = looked_at = []
    for name in ("headers", "accepted_types", "_messages"):  # made from what is gone
        nobody.__dict__.pop(name, None)

    def look(what: str, found: Any) -> Any:
        looked_at.append(what)
        return found

    nobody.user = SimpleLazyObject(lambda: look("user", AnonymousUser()))
    nobody.session = SimpleLazyObject(lambda: look("session", {}))
    nobody.csp_nonce = SimpleLazyObject(lambda: look("csp_nonce", ""))
    return nobody


def _personal_by(response: HttpResponseBase, nobody: Any, declared: set[str]) -> str | None:
    """Say by what an answer is its asker's own; None when it may be given to all."""
    said = response.get("Cache-Control", "").lower()
    varies = {name.strip().lower() for name in response.get("Vary", "").split(",")} - {""}
    if nobody.looked_at:
        return f"it looked at the {nobody.looked_at[0]}"
    if response.status_code != 200:
        return f"its status is {response.status_code}"
    if response.cookies or "CSRF_COOKIE" in nobody.META:
        return "it sets a cookie"
    if "private" in said or "no-store" in said:
        return "it says so itself"
    if undeclared := varies - declared - {"accept-encoding"}:
        return f"it varies with {', '.join(sorted(undeclared))}"
    return "it is encoded already" if response.has_header("Content-Encoding") else None
