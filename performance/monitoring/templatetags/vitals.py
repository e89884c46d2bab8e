"""`{% web_vitals %}` in the head of a visitor's page: its vitals are measured and reported."""

from __future__ import annotations

from functools import cache

from django import template
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
LIBRARY = "vendor/web-vitals/web-vitals.js"


@register.simple_tag
def web_vitals() -> SafeString:
    """Nothing where npm has not installed the library: then nothing is measured."""
    if not _is_installed():
        return SafeString("")
    return format_html(
        '<meta name="web-vitals" content="{}"><script type="module" src="{}"></script>',
        static(LIBRARY),
        static("performance/js/vitals.js"),
    )


@cache
def _is_installed() -> bool:
    if not isinstance(staticfiles_storage, ManifestFilesMixin):
        return finders.find(LIBRARY) is not None
    try:
        return bool(static(LIBRARY))
    except ValueError:  # the build does not have it
        return False
