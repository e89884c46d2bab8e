"""What a page's styles and scripts weigh before anything is built, held against its budget."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.template import Context
from django.template.base import NodeList
from django.template.loader import get_template
from django.template.loader_tags import ExtendsNode, IncludeNode
from django.templatetags.static import StaticNode

from performance.cdn import minifying, references
from performance.cdn.errors import TooHeavy


@dataclass(frozen=True, slots=True)
class Weight:
    """One page. Sizes are bytes as brotli."""

    template: str
    files: int
    size_bytes: int
    budget_bytes: int

    @property
    def fits(self) -> bool:
        return self.size_bytes <= self.budget_bytes

    def __str__(self) -> str:
        of = f"{self.size_bytes:,} of {self.budget_bytes:,} B as brotli"
        return f"{self.template}: {of}, {self.files} files"


def collected() -> dict[str, Path]:
    """Return what collectstatic would collect: name -> source, the first finder's wins."""
    ignored = list(getattr(apps.get_app_config("staticfiles"), "ignore_patterns", ()))
    found: dict[str, Path] = {}
    for finder in get_finders():
        for path, storage in finder.list(ignored):
            prefix = getattr(storage, "prefix", None)
            name = f"{prefix}/{path}" if prefix else path
            found.setdefault(name, Path(storage.path(path)))
    return found


def check(budgets: Mapping[str, int]) -> list[Weight]:
    """Weigh the pages; raises MissingAssets, MinifyFailed, or TooHeavy with what is over.

    About 2 s: all is minified, and what the pages load is compressed as a build would.
    """
    sources = collected()
    named = references.of_all(sources, settings.STATIC_URL)
    references.check(named, sources)
    with tempfile.TemporaryDirectory(prefix="protipp-weigh-") as folder:
        made = minifying.minify(sources, Path(folder))
        sizes: dict[str, int] = {}
        weights = []
        for template, budget_bytes in budgets.items():
            files = _loaded(entries(template), named)
            for name in files:
                if name in sources and name not in sizes:
                    data = (made.get(name) or sources[name]).read_bytes()
                    sizes[name] = min(len(data), len(brotli.compress(data)))
            total = sum(sizes.get(name, 0) for name in files)
            weights.append(Weight(template, len(files), total, budget_bytes))
    over = [str(weight) for weight in weights if not weight.fits]
    if over:
        raise TooHeavy(over)
    return weights


def entries(template: str) -> list[str]:
    """Return the styles and scripts that a template names, with those it extends and includes.

    A live page's own module is named by its slug and not by a path, so it is added here.
    """
    found = list(dict.fromkeys(_named(get_template(template).template.nodelist)))  # type: ignore[attr-defined]
    room, _, page = template.partition("/")
    if room == "performance":
        found.append(f"performance/js/{page.removesuffix('.html')}.js")
    return [name for name in found if name.endswith((".css", ".js"))]


def _named(nodes: NodeList) -> Iterable[str]:
    for node in nodes.get_nodes_by_type(StaticNode):
        yield str(node.path.resolve(Context()))  # type: ignore[attr-defined]
    for node in nodes.get_nodes_by_type(IncludeNode):
        yield from _of(node.template)  # type: ignore[attr-defined]
    for node in nodes.get_nodes_by_type(ExtendsNode):
        yield from _of(node.parent_name)  # type: ignore[attr-defined]


def _of(expression: Any) -> Iterable[str]:
    name = expression.resolve(Context())
    return _named(get_template(name).template.nodelist) if isinstance(name, str) else ()  # type: ignore[attr-defined]


def _loaded(names: Iterable[str], named: Iterable[references.Reference]) -> list[str]:
    """All that the page fetches: the entries, what they import, and no pictures or fonts."""
    named = list(named)
    found = dict.fromkeys(one for name in names for one in references.needed(name, named))
    return [name for name in found if name.endswith((".css", ".js"))]
