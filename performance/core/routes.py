"""What a URL pattern is called where people read it."""

from __future__ import annotations

from functools import lru_cache

from django.contrib.admindocs import utils


@lru_cache(maxsize=4096)
def readable(route: str) -> str:
    """Return a pattern as `path()` would write it, whichever way it was written.

    >>> readable(r"^events/(?P<key>[^/]{1,64})/$"), readable("admin/<slug:slug>/"), readable("")
    ('events/<key>/', 'admin/<slug:slug>/', '/')
    """
    if "^" in route or "(?" in route or route.endswith("$"):
        for simplify in (
            utils.remove_non_capturing_groups,
            utils.replace_named_groups,
            utils.replace_unnamed_groups,
            utils.replace_metacharacters,
        ):
            route = simplify(route)
    return route or "/"
