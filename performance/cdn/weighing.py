"""What a page's styles and scripts weigh before anything is built, held against its budget."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.template import Context
from django.template.base import Node, VariableNode
from django.template.defaulttags import IfNode
from django.template.loader import get_template
from django.template.loader_tags import BlockNode, ExtendsNode, IncludeNode
from django.templatetags.static import StaticNode

from performance.cdn import minifying, references
from performance.cdn.errors import TooHeavy

RIGHT_TO_LEFT = "LANGUAGE_BIDI"
"""The variable on which the admin's templates ask; no language of ours is."""


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
        made = minifying.minify(sources, named, Path(folder))
        whole = set(minifying.bundles(named))
        sizes: dict[str, int] = {}
        weights = []
        for template, budget_bytes in budgets.items():
            files = _loaded(entries(template), named, whole)
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
    nodes = get_template(template).template.nodelist  # type: ignore[attr-defined]
    found = list(dict.fromkeys(_named(nodes, frozenset())))
    room, _, page = template.partition("/")
    if room == "performance":
        found.append(f"performance/js/{page.removesuffix('.html')}.js")
    return [name for name in found if name.endswith((".css", ".js"))]


def _named(nodes: Iterable[Node], replaced: frozenset[str]) -> Iterator[str]:
    """Yield the static files of these nodes; `replaced` are the blocks that a child fills anew."""
    for node in nodes:
        if isinstance(node, StaticNode):
            yield str(node.path.resolve(Context()))
        elif isinstance(node, ExtendsNode):
            anew = {name for name, block in node.blocks.items() if not _keeps_parents(block)}
            yield from _named(node.nodelist, replaced)
            yield from _of(node.parent_name, replaced | anew)
        elif isinstance(node, IncludeNode):
            yield from _of(node.template, replaced)
        elif not _is_left_out(node, replaced):
            for attribute in node.child_nodelists:
                yield from _named(getattr(node, attribute, None) or (), replaced)


def _of(expression: Any, replaced: frozenset[str]) -> Iterator[str]:
    name = expression.resolve(Context())
    if isinstance(name, str):
        yield from _named(get_template(name).template.nodelist, replaced)  # type: ignore[attr-defined]


def _keeps_parents(block: BlockNode) -> bool:
    written = block.get_nodes_by_type(VariableNode)
    return any(str(node.filter_expression.var) == "block.super" for node in written)  # type: ignore[attr-defined]


def _is_left_out(node: Node, replaced: frozenset[str]) -> bool:
    """A block that is filled anew, or the admin's styles for what is written from the right."""
    if isinstance(node, BlockNode):
        return node.name in replaced
    if isinstance(node, IfNode):
        return getattr(node.conditions_nodelists[0][0], "text", "") == RIGHT_TO_LEFT
    return False


def _loaded(
    names: Iterable[str], named: Iterable[references.Reference], whole: Container[str]
) -> list[str]:
    """All that the page fetches: the entries and, unless they are `whole`, what they import."""
    named = list(named)
    found = dict.fromkeys(
        one
        for name in names
        for one in ([name] if name in whole else references.needed(name, named))
    )
    return [name for name in found if name.endswith((".css", ".js"))]
