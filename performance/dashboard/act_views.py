"""Acts over HTTP: an act's own page, its look ahead, its run, and how it went."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from performance.core import acts, limits
from performance.core.addresses import client_address
from performance.core.errors import PerformanceError
from performance.dashboard import confirmation, running, views
from performance.dashboard.conf import conf
from performance.dashboard.errors import AuditUnavailable, KeyTaken

SECRET_FIELD = "act_password"


@dataclass(slots=True)
class Try:
    """One request that is about an act, by someone who may do it."""

    request: HttpRequest
    act: acts.Act
    form: forms.Form
    key: str
    back: str

    @property
    def asks_password(self) -> bool:
        return self.act.dangerous and not confirmation.is_recent(self.request)


@never_cache
@csrf_protect
@require_http_methods(["GET", "POST"])
def show_act(request: HttpRequest, name: str) -> HttpResponse:
    """GET shows the act with its fields filled from the query; POST looks ahead or runs it.

    POST fields beside the form's own: `act_key` (32 hex digits: the same key runs once),
    `act_step` ("look" or "run"), `act_password`, `act_back`.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    act = acts.get(name)
    if act is None:
        names = ", ".join(known.name for known in acts.all_acts())
        why = f"No act is called {name!r}. There are: {names}."
        return _refuse(request, 404, "No such act", why)
    refused = _too_many(request) or _denied(request, act)
    if refused is not None:
        return refused

    attempt = _read(request, act)
    if attempt is None:
        why = "act_key must be 32 hex digits, as the form has it. Reload the page for a fresh form."
        return _refuse(request, 400, "This form has no usable key", why)
    if request.method == "GET" or request.POST.get("act_step") == "look":
        return _look(attempt)
    return _run(attempt)


@require_http_methods(["GET"])
def show_outcome(request: HttpRequest, name: str, key: str) -> HttpResponse:
    """Say how a run went, to those who may do the act; reloading runs nothing."""
    act = acts.get(name)
    if act is None or not request.user.has_perm(act.permission):
        return _refuse(request, 404, "No such run", f"No run {key!r} of {name!r} is yours to see.")
    found = running.outcome(key) if running.KEY.fullmatch(key) else None
    if found is None:
        return _refuse(request, 404, "No such run", f"{act.title} was never run as {key!r}.")
    context = {
        **admin.site.each_context(request),
        "title": act.title,
        "act": act,
        "outcome": found,
        "back": _back(request),
    }
    return TemplateResponse(request, "performance/acts/outcome.html", context)


def _too_many(request: HttpRequest) -> HttpResponse | None:
    if request.method != "POST":
        return None
    limit = conf().acts_per_minute
    waiting_s = limits.hit(f"acts:{request.user.pk}", limit=limit, window_s=60)
    if waiting_s is None:
        return None
    why = (
        f"{limit} acts a minute are the limit for one person. Wait {waiting_s} s. Nothing was done."
    )
    answer = _refuse(request, 429, "Too many acts", why)
    answer["Retry-After"] = str(waiting_s)
    return answer


def _denied(request: HttpRequest, act: acts.Act) -> HttpResponse | None:
    if admin.site.has_permission(request) and request.user.has_perm(act.permission):
        return None
    why = f"{act.title} needs the permission {act.permission}. Nothing was done."
    if request.method == "POST":
        running.denied(
            act,
            who=request.user,
            address=client_address(request),
            key=secrets.token_hex(16),
            reason=f"needs {act.permission}",
        )
    return _refuse(request, 403, f"{act.title} is not yours to do", why)


def _read(request: HttpRequest, act: acts.Act) -> Try | None:
    if request.method == "GET":
        given = {name: request.GET[name] for name in act.form.base_fields if name in request.GET}
        values = {**act.initial, **given}
        # A filled-in link is checked and looked at right away; an empty one shows no errors yet.
        form = act.form(values, initial=values) if given else act.form(initial=values)
        return Try(request, act, form, secrets.token_hex(16), _back(request))
    key = request.POST.get("act_key") or secrets.token_hex(16)
    if not running.KEY.fullmatch(key):
        return None
    return Try(request, act, act.form(request.POST, request.FILES), key, _back(request))


def _look(attempt: Try, *, status: int = 200, problem: str = "") -> HttpResponse:
    """Show the act's page: its fields, what it would do, the password when it wants one."""
    preview = ""
    if attempt.form.is_bound and attempt.form.is_valid() and attempt.act.preview:
        try:
            preview = attempt.act.preview(**attempt.form.cleaned_data)
        except PerformanceError as error:
            problem = problem or str(error)
    if not attempt.form.is_bound and not attempt.form.visible_fields() and attempt.act.preview:
        preview = attempt.act.preview()
    context: dict[str, Any] = {
        **admin.site.each_context(attempt.request),
        "title": attempt.act.title,
        "act": attempt.act,
        "form": attempt.form,
        "key": attempt.key,
        "back": attempt.back,
        "preview": preview,
        # A template would call `act.preview` itself, without its values.
        "has_preview": attempt.act.preview is not None and bool(attempt.form.visible_fields()),
        "problem": problem,
        "asks_password": attempt.asks_password,
        "can_run": bool(preview) or not attempt.act.preview,
    }
    return TemplateResponse(attempt.request, "performance/acts/act.html", context, status=status)


def _run(attempt: Try) -> HttpResponse:
    request, act, form = attempt.request, attempt.act, attempt.form
    if not form.is_valid():
        said = "; ".join(
            f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()
        )
        return _again(attempt, 400, f"{act.title} was not run. {said}")
    if attempt.asks_password:
        problem = confirmation.confirm(request, request.POST.get(SECRET_FIELD, ""))
        if problem:
            return _again(attempt, 403, problem)
    try:
        outcome = running.run(
            act,
            form.cleaned_data,
            key=attempt.key,
            who=request.user,
            address=client_address(request),
        )
    except AuditUnavailable as error:
        return _refuse(request, 503, f"{act.title} was not run", str(error))
    except KeyTaken as error:
        return _refuse(request, 409, f"{act.title} was not run", str(error))
    if _wants_json(request):
        found = {"ok": outcome.ok, "message": outcome.message, "ended": outcome.ended}
        return JsonResponse(found)
    address = reverse("admin:performance_outcome", args=[act.name, attempt.key])
    return HttpResponseRedirect(f"{address}?{urlencode({'back': attempt.back})}")


def _again(attempt: Try, status: int, problem: str) -> HttpResponse:
    """The act's page once more, with what was wrong; a script is told where that page is."""
    if not _wants_json(attempt.request):
        return _look(attempt, status=status, problem=problem)
    address = reverse("admin:performance_act", args=[attempt.act.name])
    answer: dict[str, Any] = {"ok": False, "message": problem, "ended": False}
    if attempt.asks_password:
        given = {name: str(attempt.form[name].value() or "") for name in attempt.form.fields}
        answer["next"] = f"{address}?{urlencode({**given, 'back': attempt.back})}"
    return JsonResponse(answer, status=status)


def _refuse(request: HttpRequest, status: int, title: str, why: str) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse(
            {"ok": False, "message": f"{title}. {why}", "ended": True}, status=status
        )
    return views.refuse(request, status, title, why)


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _back(request: HttpRequest) -> str:
    """Where to go afterwards: a path of ours, else the admin's index."""
    asked = request.POST.get("act_back") or request.GET.get("back") or ""
    ours = asked.startswith("/") and url_has_allowed_host_and_scheme(asked, allowed_hosts=None)
    return asked if ours else reverse("admin:index")
