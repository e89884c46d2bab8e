"""Link headers that let a browser fetch styles and modules before it has read the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage

from performance.cdn import assets, health
from performance.cdn.conf import conf

MOST = 12
"""More hints than this compete with what they are to speed up."""


def wrap(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application with `Link` on its pages; about 1 us an answer."""

    def hinted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if status.startswith("200") and _is_page(headers):
                link = link_header(environ["PATH_INFO"])
                if link:
                    headers = [*headers, ("Link", link)]
            return start_response(status, headers, *more)

        return application(environ, start)

    return hinted


def _is_page(headers: Sequence[tuple[str, str]]) -> bool:
    return any(
        name.lower() == "content-type" and value.startswith("text/html") for name, value in headers
    )


def link_header(path: str) -> str:
    """Return the hints for a page by the longest prefix of `conf().hints`; empty without any."""
    hints = conf().hints
    prefix = max((prefix for prefix in hints if path.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return ""
    at_edge = bool(conf().base_url) and health.healthy()
    return _header(tuple(hints[prefix]), at_edge)


@lru_cache(maxsize=64)
def _header(names: tuple[str, ...], at_edge: bool) -> str:
    """`at_edge` is there to tell the URLs of a healthy edge from the origin's."""
    return ", ".join(_hints(names)[:MOST])


def _hints(names: Iterable[str]) -> list[str]:
    hints: Mapping[str, str] = {url: kind for name in names for url, kind in _of(name)}
    return [f"<{url}>; {kind}" for url, kind in hints.items()]


def _of(name: str) -> Iterable[tuple[str, str]]:
    if name.endswith(".css"):
        yield staticfiles_storage.url(name), "rel=preload; as=style"
        return
    for needed in assets.needs(name):
        yield staticfiles_storage.url(needed), "rel=modulepreload"
