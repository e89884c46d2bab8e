"""The contract every live page fulfils, and the register that holds them."""

from __future__ import annotations

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

        It must hold `sequence` (int): the number of the last difference that it contains. The
        socket's messages carry the numbers that follow, so a browser sees a gap and asks again.
        """
        raise NotImplementedError


_pages: dict[str, Page] = {}


def register(page_class: type[Page]) -> type[Page]:
    _pages[page_class.slug] = page_class()
    return page_class


def get(slug: str) -> Page | None:
    return _pages.get(slug)


def all_pages() -> list[Page]:
    return sorted(_pages.values(), key=lambda page: (page.order, page.title))
