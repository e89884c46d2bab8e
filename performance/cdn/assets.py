"""What a build knows beside the names: pictures' sizes and variants, and what modules load."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from performance.cdn.imaging import Picture

FILE = "assets.json"


def write(root: Path, pictures: dict[str, Picture], needs: dict[str, list[str]]) -> None:
    """Write it beside the manifest, whole or not at all."""
    draft = root / f".{FILE}.{os.getpid()}"
    known = {"pictures": {name: asdict(one) for name, one in pictures.items()}, "needs": needs}
    draft.write_text(json.dumps(known, separators=(",", ":")))
    draft.replace(root / FILE)


def picture(name: str) -> Picture | None:
    """Return a picture of the build; None when it is none, or nothing is built."""
    row = _read()["pictures"].get(name)
    if row is None:
        return None
    variants = {
        kind: {int(width): file for width, file in files.items()}
        for kind, files in row["variants"].items()
    }
    return Picture(row["width"], row["height"], variants)


def needs(name: str) -> list[str]:
    """Return `name` and what it loads at once, nearest first."""
    found: list[str] = _read()["needs"].get(name, [name])
    return found


def _read() -> dict[str, Any]:
    path = Path(settings.STATIC_ROOT) / FILE
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        return {"pictures": {}, "needs": {}}
    return _load(str(path), changed_ns)


@functools.lru_cache(maxsize=4)
def _load(path: str, changed_ns: int) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(Path(path).read_text())
    return known
