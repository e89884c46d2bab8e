"""Jinja2 for what repeats on a page, a board's thousand cells first; frames stay Django's."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jinja2
from django.utils import dateformat

from odds.templatetags import odds_format

FILTERS = (
    "age", "handicap", "margin", "market", "money", "percent", "point", "price", "quoter_title",
    "until",
)  # fmt: skip


def environment(**options: Any) -> jinja2.Environment:
    """Return the environment that settings.TEMPLATES names, with the filters of our pages."""
    found = jinja2.Environment(**options)
    for name in FILTERS:
        found.filters[name] = getattr(odds_format, name)
    found.filters["moment"] = _moment
    found.globals["offer_cells"] = odds_format.offer_cells
    return found


@lru_cache(maxsize=1024)  # matches of a day begin together
def _moment(epoch_s: float, form: str) -> str:
    """Seconds of the Unix epoch as a date in UTC, in the letters of Django's `date` filter."""
    return dateformat.format(datetime.fromtimestamp(epoch_s, UTC), form)
