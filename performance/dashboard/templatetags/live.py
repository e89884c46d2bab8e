"""Tags of a live page's template: its acts, its script."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import HttpRequest
from django.template.context import RequestContext
from django.templatetags.static import static
from django.urls import reverse

from performance.core import acts, pages

register = template.Library()


@register.simple_tag
def page_script(page: pages.Page) -> str:
    """The URL of the page's own module."""
    return static(f"performance/js/{page.slug}.js")


@register.inclusion_tag("performance/acts/bar.html", takes_context=True)
def act_bar(context: RequestContext, page: pages.Page) -> dict[str, Any]:
    """All acts of the page that the viewer may do, as buttons; acts with fields open their page."""
    found = [acts.get(name) for name in page.acts]
    offered = [act for act in found if act is not None and _may(context, act)]
    return {
        "buttons": [_button(context, act, {}, "", "") for act in offered],
        "request": _request(context),
    }


@register.inclusion_tag("performance/acts/button.html", takes_context=True)
def act(
    context: RequestContext, name: str, label: str = "", style: str = "small", **values: Any
) -> dict[str, Any]:
    """One act as a button with its fields given: `{% act "balancing.drain" node="web-1" %}`.

    Nothing is shown to those who may not do it. An act that is dangerous, has a preview, or lacks
    a required value opens its own page, filled in; any other runs at once.
    """
    found = _known(name)
    if not _may(context, found):
        return {"button": None}
    return {"button": _button(context, found, values, label, style), "request": _request(context)}


@register.inclusion_tag("performance/acts/form.html", takes_context=True)
def act_form(context: RequestContext, name: str, **values: Any) -> dict[str, Any]:
    """One act as a form with its fields on the page; nothing for those who may not do it."""
    found = _known(name)
    if not _may(context, found):
        return {"act": None}
    return {
        "act": found,
        "form": found.form(initial={**found.initial, **values}, auto_id=f"{name}-%s"),
        "direct": not (found.dangerous or found.preview),
        "key": secrets.token_hex(16),
        "back": _request(context).path,
        "request": _request(context),
    }


@register.simple_tag(takes_context=True)
def act_href(context: RequestContext, name: str, **values: Any) -> str:
    """The address of an act's own page with its fields filled in."""
    return _href(context, _known(name), values)


def _button(
    context: RequestContext, act: acts.Act, values: dict[str, Any], label: str, style: str
) -> dict[str, Any]:
    given = {**act.initial, **values}
    lacking = [
        name
        for name, field in act.form.base_fields.items()
        if name not in given and (field.required or not values)
    ]
    return {
        "act": act,
        "label": label or act.title,
        "style": f"{style} danger" if act.dangerous else style,
        "values": given,
        "direct": not (act.dangerous or act.preview or lacking),
        "href": _href(context, act, values),
        "key": secrets.token_hex(16),
        "back": _request(context).path,
    }


def _href(context: RequestContext, act: acts.Act, values: dict[str, Any]) -> str:
    query = urlencode({**values, "back": _request(context).path})
    return f"{reverse('admin:performance_act', args=[act.name])}?{query}"


def _known(name: str) -> acts.Act:
    found = acts.get(name)
    if found is None:
        names = ", ".join(known.name for known in acts.all_acts())
        raise template.TemplateSyntaxError(f"No act is called {name!r}. There are: {names}.")
    return found


def _may(context: RequestContext, act: acts.Act) -> bool:
    return bool(_request(context).user.has_perm(act.permission))


def _request(context: RequestContext) -> HttpRequest:
    request: HttpRequest = context["request"]
    return request
