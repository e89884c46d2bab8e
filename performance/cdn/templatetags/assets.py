"""Tags for what a build made: pictures in many widths, modules fetched early, a second chance."""

from __future__ import annotations

from collections.abc import Mapping

from django import template
from django.conf import settings
from django.template.base import Parser, Token
from django.templatetags.static import StaticNode, static
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from performance.cdn import services

register = template.Library()


@register.simple_tag
def picture(
    name: str,
    alt: str,
    sizes: str = "100vw",
    lazy: bool = True,
    css_class: str = "",
) -> SafeString:
    """A picture as AVIF and WebP in the widths of the build, with its size, so that nothing moves.

    `{% picture "odds/img/pitch.jpg" alt="A pitch" sizes="(min-width: 60rem) 50vw, 100vw" %}`.
    `alt` may be empty for what only decorates. `lazy=False` is for what is seen at once.
    Where nothing was built, it is the plain picture.
    """
    known = services.picture(name)
    size = format_html(' width="{}" height="{}"', known.width, known.height) if known else ""
    image = format_html(
        '<img src="{}" alt="{}"{}{}{} decoding="async">',
        static(name),
        escape(alt),  # what a template writes out counts as safe, quotes and all
        size,
        format_html(' class="{}"', css_class) if css_class else "",
        SafeString(' loading="lazy"') if lazy else SafeString(' fetchpriority="high"'),
    )
    if known is None or not known.variants:
        return image
    sources = format_html_join(
        "",
        '<source type="image/{}" srcset="{}" sizes="{}">',
        ((kind, _srcset(files), sizes) for kind, files in known.variants.items()),
    )
    return format_html("<picture>{}{}</picture>", sources, image)


def _srcset(files: Mapping[int, str]) -> str:
    return ", ".join(f"{static(file)} {width}w" for width, file in sorted(files.items()))


@register.simple_tag
def modules(name: str) -> SafeString:
    """`<link rel="modulepreload">` for a module and all that it loads at once.

    A browser else finds the imports of an import only after it has fetched the one before.
    """
    return format_html_join(
        "\n  ",
        '<link rel="modulepreload" href="{}">',
        ((static(needed),) for needed in services.modules_of(name)),
    )


@register.simple_tag
def second_chance(missing_ok: bool = False) -> SafeString:
    """The script that fetches from the origin what the edge did not give; nothing without an edge.

    It comes from the origin itself, and before all that could fail. `missing_ok` is for pages of
    errors: nothing where it was not built either.
    """
    edge = services.edge_address()
    if not edge:
        return SafeString("")
    try:
        url = services.origin_url(SCRIPT)
    except ValueError:  # the manifest has no such name
        if missing_ok:
            return SafeString("")
        raise
    return format_html('<script src="{}" data-edge="{}"></script>', url, edge)


@register.simple_tag
def static_or_plain(name: str) -> str:
    """`{% static %}` for pages of errors: the plain name where nothing was built.

    A page that cannot say what went wrong, because something else did too, helps nobody.
    """
    try:
        return static(name)
    except ValueError:  # the manifest has no such name
        return f"{settings.STATIC_URL}{name}"


class OriginStaticNode(StaticNode):
    @classmethod
    def handle_simple(cls, path: str) -> str:
        return services.origin_url(path)


@register.tag
def origin_static(parser: Parser, token: Token) -> StaticNode:
    """`{% static %}` that never leads to the edge: for what stands before `second_chance`."""
    return OriginStaticNode.handle_token(parser, token)


SCRIPT = "performance/js/second-chance.js"
