"""CSS and JS made small by esbuild, entries in one file, with source maps kept to ourselves."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from performance.cdn import bundling
from performance.cdn.errors import MinifyFailed
from performance.cdn.references import Reference, Sources

logger = logging.getLogger(__name__)

WITHIN_S = 60
KINDS = (".css", ".js")
JOINED = ("--bundle", "--format=esm", "--packages=external")
_EXPORT_ALL = re.compile(r"(^|[;}\n])export\*")


def esbuild() -> Path | None:
    """Return esbuild's own program from npm, which needs no Node.js; None when not installed."""
    folder = Path(settings.BASE_DIR) / "node_modules" / "@esbuild"
    return next((path for path in sorted(folder.glob("*/bin/esbuild"))), None)


def bundles(named: Sequence[Reference]) -> list[str]:
    """Return what `minify` joins with all that it loads; nothing where esbuild is not installed."""
    return bundling.entries(named) if esbuild() else []


def minify(sources: Sources, named: Sequence[Reference], into: Path) -> dict[str, Path]:
    """Write the CSS and JS among `sources` below `into`, smaller; return name -> file.

    Entries are joined with what they load (see `bundling`). Of every other file no name at a
    script's top is changed, so each does what it did. Those that come minified are left out. A
    source map lies beside each. Without esbuild nothing is made smaller and a warning says so.
    Raises MinifyFailed with the file and line of what cannot be read, or of an import that its
    module does not export. Two processes for all: about 0.1 s.
    """
    wanted = {
        name: path for name, path in sources.items() if name.endswith(KINDS) and ".min." not in name
    }
    program = esbuild()
    if program is None:
        logger.warning("esbuild is not installed (npm ci): CSS and JS are not made smaller.")
        return {}
    joined = [name for name in bundling.entries(named) if name in wanted]
    alone = {name: path for name, path in wanted.items() if name not in set(joined)}
    if alone:
        _run(program, alone, into)
    if joined:
        with tempfile.TemporaryDirectory(prefix="protipp-bundle-") as folder:
            tree = Path(folder)
            left = bundling.lay_out(joined, named, sources, tree, settings.STATIC_URL)
            options = (*JOINED, *(f"--external:{pattern}" for pattern in left))
            _run(program, {name: tree / name for name in joined}, into, *options, inside=tree)
    made = {name: into / name for name in wanted if (into / name).is_file()}
    for name, path in made.items():
        if name.endswith(".js"):
            _space_export_all(path)
    return made


def _run(
    program: Path, files: Sources, into: Path, *options: str, inside: Path | None = None
) -> None:
    """Messages name files by their path from `inside`."""
    try:
        done = subprocess.run(
            [
                str(program), "--minify", "--charset=utf8", "--legal-comments=inline",
                "--sourcemap=external", "--log-level=error", "--color=false", f"--outdir={into}",
                *options,
                *(f"{Path(name).with_suffix('')}={path}" for name, path in files.items()),
            ],
            capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=inside,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MinifyFailed(str(error)) from error
    if done.returncode != 0:
        raise MinifyFailed(done.stderr)


def keep_maps(made: dict[str, Path], hashed: dict[str, str]) -> int:
    """Move the source maps to a folder that nobody serves, under the hashed names.

    It is STATIC_ROOT's neighbour `static-maps`; whoever debugs has them there. Returns how many.
    """
    folder = Path(settings.STATIC_ROOT).parent / "static-maps"
    kept = 0
    for name, path in made.items():
        source = path.with_name(path.name + ".map")
        if name in hashed and source.is_file():
            target = folder / f"{hashed[name]}.map"
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.move(source, target)
            kept += 1
    return kept


def _space_export_all(path: Path) -> None:
    """Django's pattern for `export * from` wants the space that esbuild left out."""
    text = path.read_text(encoding="utf-8")
    spaced = _EXPORT_ALL.sub(r"\1export *", text)
    if spaced != text:
        path.write_text(spaced, encoding="utf-8")
