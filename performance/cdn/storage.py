"""Static files as they are built: hashed names, and each text file compressed three ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zstandard
from servestatic.compress import Compressor
from servestatic.storage import CompressedManifestStaticFilesStorage

from performance.cdn import health

ZSTD_LEVEL = 19


class AllEncodings(Compressor):
    """servestatic's compressor (gzip and brotli) with zstd, which it has only from Python 3.14."""

    def compress(self, path: Any) -> list[str]:
        written = super().compress(path)
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

    def create_compressor(self, **options: Any) -> Compressor:
        return AllEncodings(**options)

    def url(self, name: str | None, force: bool = False) -> str:
        origin_url: str = super().url(name, force)
        return health.public_url(origin_url)
