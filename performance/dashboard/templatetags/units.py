"""Filters that show a number with its unit, as `core.units` and `format.js` do."""

from __future__ import annotations

from django import template

from performance.core import units

register = template.Library()

register.filter("ms", units.format_ms)
register.filter("bytes", units.format_bytes)
register.filter("age", units.format_age)
register.filter("ratio", units.format_ratio)
