"""What static files name of each other, read from their sources; and what of it is not there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag

from performance.cdn.errors import MissingAssets

Sources = Mapping[str, Path]
"""Name below the static root -> the file that it is collected from."""

_CSS = (
    re.compile(r"""url\(\s*["']?(?P<url>[^"')]+?)["']?\s*\)""", re.IGNORECASE),
    re.compile(r"""@import\s*["'](?P<url>[^"']+)["']""", re.IGNORECASE),
)
_JS = (
    re.compile(
        r"""^\s*(?:import|export)\b[^"'`;]*?\bfrom\s*["'](?P<url>\.{0,2}/[^"']+)["']""", re.M
    ),
    re.compile(r"""^\s*import\s*["'](?P<url>\.{0,2}/[^"']+)["']""", re.M),
)
_DYNAMIC = re.compile(r"""\bimport\(\s*["'](?P<url>\.{0,2}/[^"']+)["']\s*\)""")
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//|#)", re.IGNORECASE)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_JS_COMMENT = re.compile(r"/\*.*?\*/|(?:^|(?<=[\s;{})]))//[^\n]*", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reference:
    """One file that names another."""

    name: str
    line: int
    url: str
    target: str
    """The name that `url` means, below the static root."""
    start: int = 0
    """Where `url` begins in the file's text."""
    joins: bool = False
    """Loaded at once, as a part of the file: an import, but no picture and no `import("…")`."""


def of_file(name: str, text: str, static_url: str) -> Iterator[Reference]:
    """Yield what a CSS or JS file names in our own tree, in the order of its kinds."""
    css = name.endswith(".css")
    comment = _CSS_COMMENT if css else _JS_COMMENT
    text = comment.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    patterns = _CSS if css else (*_JS, _DYNAMIC)
    for pattern in patterns:
        for found in pattern.finditer(text):
            url = found["url"].strip()
            start = found.start("url") + found["url"].index(url)
            path = unquote(urldefrag(url)[0].partition("?")[0])
            if not path or _ELSEWHERE.match(url):
                continue
            if path.startswith("/") and not path.startswith(static_url):
                continue  # another page of the site
            if not css and not posixpath.splitext(path)[1]:
                continue  # a type, a bare module
            target = (
                path.removeprefix(static_url)
                if path.startswith("/")
                else posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            )
            before = text[max(0, found.start() - len("@import ")) : start].lower()
            joins = "@import" in before if css else pattern in _JS
            yield Reference(name, text.count("\n", 0, start) + 1, url, target, start, joins)


def of_all(sources: Sources, static_url: str) -> list[Reference]:
    """Return all references between the sources; a file that is no UTF-8 names nothing."""
    found: list[Reference] = []
    for name, path in sorted(sources.items()):
        if name.endswith((".css", ".js")):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += of_file(name, text, static_url)
    return found


def check(references: Iterable[Reference], sources: Sources) -> None:
    """Raise MissingAssets when any names what is not there, with each one's file and line."""
    missing = [
        f"{sources[one.name]}:{one.line} names {one.url!r}"
        for one in references
        if one.target not in sources
    ]
    if missing:
        raise MissingAssets(missing)


def needed(name: str, references: Iterable[Reference]) -> list[str]:
    """Return `name` and all that it loads at once, nearest first."""
    children: dict[str, list[str]] = {}
    for one in references:
        if one.joins:
            children.setdefault(one.name, []).append(one.target)
    order = [name]
    for current in order:
        order += [child for child in children.get(current, ()) if child not in order]
    return list(dict.fromkeys(order))
