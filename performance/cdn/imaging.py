"""Pictures in the widths and formats that browsers choose from: AVIF, WebP, and as they were."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from performance.cdn.errors import PictureRefused
from performance.cdn.references import Sources

KINDS = (".png", ".jpg", ".jpeg")
FORMATS = {"avif": {"quality": 60, "speed": 6}, "webp": {"quality": 80, "method": 5}}
"""Pillow's names and options; AVIF first, as browsers take the first that they know."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture's size in pixels, and its variants: format -> width -> name."""

    width: int
    height: int
    variants: dict[str, dict[int, str]] = field(default_factory=dict)


def variants(
    sources: Sources, widths: Sequence[int], into: Path, cache: Path
) -> tuple[dict[str, Picture], dict[str, Path]]:
    """Make all pictures at least as wide as the smallest width; return them, and name -> file.

    A variant that is not smaller than the original is not kept. What was made before is taken
    from `cache`, as AVIF costs seconds. Raises PictureRefused for what is no picture, or is one
    of more pixels than Pillow opens.
    """
    pictures: dict[str, Picture] = {}
    files: dict[str, Path] = {}
    for name, path in sorted(sources.items()):
        if not name.lower().endswith(KINDS):
            continue
        try:
            with Image.open(path) as image:
                picture = Picture(*image.size)
                pictures[name] = picture
                wanted = _widths(picture.width, widths)
                for kind in FORMATS if wanted else ():
                    for width in wanted:
                        made = _variant(image, path, kind, width, cache)
                        if made is None:
                            continue
                        variant = str(PurePosixPath(name).with_suffix(f".w{width}.{kind}"))
                        target = into / variant
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(made, target)
                        picture.variants.setdefault(kind, {})[width] = variant
                        files[variant] = target
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise PictureRefused(str(path), str(error)) from error
    return pictures, files


def _widths(own: int, widths: Sequence[int]) -> list[int]:
    """The widths below its own, and its own at the end; nothing for an icon."""
    if own < min(widths):
        return []
    return sorted({width for width in widths if width < own} | {min(own, max(widths))})


def _variant(image: Image.Image, path: Path, kind: str, width: int, cache: Path) -> Path | None:
    """Return the variant's file, or None when the original is no larger."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    made = cache / f"{digest}.w{width}.{kind}"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        height = max(1, round(image.height * width / image.width))
        plain = image if image.mode in ("RGB", "RGBA") else image.convert("RGBA")
        small = plain.resize((width, height), Image.Resampling.LANCZOS)
        draft = made.with_name(f"{made.name}.{os.getpid()}")
        small.save(draft, format=kind.upper(), **FORMATS[kind])
        draft.replace(made)  # whole or not at all: two builds may run at once
    return made if made.stat().st_size < path.stat().st_size else None
