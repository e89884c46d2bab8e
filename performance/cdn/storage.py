"""Static files as they are built: hashed names, and each text file compressed three ways."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import zstandard
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from servestatic.compress import Compressor
from servestatic.storage import CompressedManifestStaticFilesStorage

from performance.cdn import assets, health, imaging, minifying, references
from performance.cdn.conf import conf
from performance.cdn.serving import HASHED_NAME

ZSTD_LEVEL = 19


class AllEncodings(Compressor):
    """servestatic's compressor (gzip and brotli) with zstd, which it has only from Python 3.14."""

    def compress(self, path: Any) -> list[str]:
        written: list[str] = super().compress(path)
        source = Path(path)
        data = source.read_bytes()
        packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
        if len(packed) < len(data):
            target = source.with_name(f"{source.name}.zstd")
            target.write_bytes(packed)
            written.append(str(target))
        return written


class HashedStorage(CompressedManifestStaticFilesStorage):
    """Names carry a hash of the content, so that a browser may keep them for ever.

    URLs lead to the CDN while it is configured and healthy, and to the origin otherwise.
    """

    # Without it `import "./live.js"` keeps its bare name, and far-future caching serves an old one.
    support_js_module_import_aggregation = True
    # A template that names a file which is not built is our bug, and says so; tests build nothing.
    manifest_strict = True
    # What a file was on the way to its last name, nobody asks for.
    keep_intermediate_files = False

    def post_process(self, paths: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """Build: check what files name, join and make them small, then hash and compress them.

        Raises BuildFailed before anything is named or compressed: the manifest in use stands.
        """
        if options.get("dry_run"):
            return
        root = Path(self.location)
        sources = {
            name.replace("\\", "/"): Path(storage.path(path))
            for name, (storage, path) in paths.items()
        }
        named = references.of_all(sources, settings.STATIC_URL)
        references.check(named, sources)
        with tempfile.TemporaryDirectory(prefix="protipp-build-") as folder:
            made = minifying.minify(sources, named, Path(folder))
            pictures, variants = imaging.variants(
                sources, conf().image_widths, Path(folder), root.parent / "static-pictures"
            )
            built = FileSystemStorage(location=folder)
            changed = {name: (built, name) for name in (*made, *variants)}
            yield from super().post_process({**paths, **changed}, *args, **options)
            minifying.keep_maps(made, self.hashed_files)
        chains = {name for name in sources if name.endswith(".js")} - set(minifying.bundles(named))
        needs = {name: references.needed(name, named) for name in sorted(chains)}
        assets.write(root, pictures, {name: all_ for name, all_ in needs.items() if len(all_) > 1})

    def url_converter(self, name: str, hashed_files: Any, template: Any = None) -> Any:
        """Leave alone what names no file of ours: source maps, and types in comments such as
        `import("../htmx").Type`."""
        converter = super().url_converter(name, hashed_files, template)

        def convert(match: re.Match[str]) -> str:
            suffix = PurePosixPath(match["url"]).suffix
            if suffix == ".map" or (name.endswith(".js") and not suffix):
                return match.group()
            converted: str = converter(match)
            return converted

        return convert

    def compress_files(self, paths: set[str]) -> Iterator[tuple[str, str]]:
        """Compress what pages name: hashed files, and of them those that an earlier build has not.

        Brotli's best costs a second a megabyte, and a hashed name never changes its content.
        """
        wanted = {
            path
            for path in paths
            if HASHED_NAME.match(path) and not Path(self.path(f"{path}.br")).exists()
        }
        yield from super().compress_files(wanted)

    def create_compressor(self, **options: Any) -> Compressor:
        return AllEncodings(**options)

    def url(self, name: str | None, force: bool = False) -> str:
        origin_url: str = super().url(name, force)
        return health.public_url(origin_url)
