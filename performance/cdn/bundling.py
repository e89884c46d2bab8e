"""What a page loads first, joined with all that it loads at once: one request in place of a chain.

An entry is a module or a style that loads others and is loaded by none. Every file keeps its own
name beside, so what names one of the others still finds it; without a build the browser follows
the imports itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from performance.cdn.references import Reference, Sources, needed

_ROOTED = re.compile(r"""url\(\s*["']?(/[^"')\s]*)""", re.IGNORECASE)
_AFTER_PATH = re.compile(r"[?#].*", re.DOTALL)


def entries(named: Iterable[Reference]) -> list[str]:
    """Return the names of the entries: what imports at once, and is not imported so itself.

    What is only loaded lazily, and loads others, is an entry of its own.
    """
    joined = [one for one in named if one.joins]
    loaded = {one.target for one in joined}
    return sorted({one.name for one in joined} - loaded)


def lay_out(
    wanted: Iterable[str], named: Sequence[Reference], sources: Sources, into: Path, static_url: str
) -> list[str]:
    """Write the entries and all that they load below `into`, so that a bundler finds them.

    Apps keep their files in folders of their own, and only the names below the static root fit
    together: so what is joined is named by a relative path, and what is not (pictures, lazy
    modules) by its path from the root of the host, which holds from any file. Returns the patterns
    of what the bundler has to leave as it is written.
    """
    left = {f"{static_url}*"}
    by_name: dict[str, list[Reference]] = {}
    for one in named:
        by_name.setdefault(one.name, []).append(one)
    for name in dict.fromkeys(file for entry in wanted for file in needed(entry, named)):
        text = sources[name].read_text(encoding="utf-8", errors="replace")
        for one in sorted(by_name.get(name, ()), key=lambda one: one.start, reverse=True):
            after = text[one.start + len(one.url) :]
            text = text[: one.start] + _address(one, static_url) + after
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_text(text, encoding="utf-8")
        if name.endswith(".css"):
            left.update(_ROOTED.findall(text))
    return sorted(left)


def _address(one: Reference, static_url: str) -> str:
    if one.joins:
        return "./" + posixpath.relpath(one.target, posixpath.dirname(one.name) or ".")
    return static_url + one.target + "".join(_AFTER_PATH.findall(one.url)[:1])
