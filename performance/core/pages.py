"""The contract every live page fulfils, and the register that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Page:
    """One live screen inside the admin. A room subclasses it in its own pages.py.

    `slug` also names the template (`templates/performance/<slug>.html`), the script
    (`static/performance/js/<slug>.js`), the URL (`/admin/performance/<slug>/`) and the socket
    (`/ws/performance/<slug>/`).
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    permission: ClassVar[str]
    """`app_label.codename` that a viewer needs, for the page and for its socket."""
    order: ClassVar[int] = 100
    """Place in the menu; lower comes first."""
    acts: ClassVar[tuple[str, ...]] = ()
    """Names of the acts (see `core.acts`) that this page offers, in their order on screen."""

    @property
    def template_name(self) -> str:
        return f"performance/{self.slug}.html"

    @property
    def group(self) -> str:
        """The Channels group whose members are watching this page."""
        return f"performance.page.{self.slug}"

    def snapshot(self) -> dict[str, Any]:
        """Return all that the page shows, as JSON-ready values with units in their names.

        `sequence`, the number of the last difference that it contains, is the frame's: it is
        added by `core.broadcast.snapshot`, whatever is given here. The socket's messages carry the
        numbers that follow, so a browser sees a gap and asks again.

        It runs on every page view and once a reconnect in a live node: keep it under 50 ms.
        """
        raise NotImplementedError

    def changes(self) -> dict[str, Any]:
        """Return what the watchers should hear this second; merged over the snapshot by key.

        By default all of it. A page with long series overrides this to send only the newest
        points. It is called once a second in the `monitor` process while someone watches. Values
        replace what the browser has under the same key, so that hearing one twice does no harm.
        """
        return self.snapshot()

    def choose(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what the address asks for beside the snapshot, such as `?range=6h`.

        It is in the template as `chosen`, and does not move. Wrong input is answered by the page's
        default and a `notice` that names the value and what is allowed; nothing is raised for it.
        """
        return {}


_pages: dict[str, Page] = {}


def register(page_class: type[Page]) -> type[Page]:
    """Add a page; ValueError when another class has its slug already."""
    known = _pages.get(page_class.slug)
    if known is not None and _name(type(known)) != _name(page_class):
        raise ValueError(
            f"Two pages are called {page_class.slug!r}: {_name(type(known))} and "
            f"{_name(page_class)}. Give one of them another slug."
        )
    _pages[page_class.slug] = page_class()
    return page_class


def _name(page_class: type[Page]) -> str:
    return f"{page_class.__module__}.{page_class.__qualname__}"


def get(slug: str) -> Page | None:
    return _pages.get(slug)


def all_pages() -> list[Page]:
    return sorted(_pages.values(), key=lambda page: (page.order, page.title))
