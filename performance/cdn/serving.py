"""Static files from the origin, before Django: smallest encoding, own ETag, kept for ever."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.headers import Headers

from django.conf import settings
from servestatic.responders import MissingFileError, Response, StaticFile
from servestatic.wsgi import ServeStatic

from performance.cdn.conf import conf

HASHED_NAME = re.compile(r"^.+\.[0-9a-f]{12}\.[^/]+$")
UNHASHED_MAX_AGE_S = 60
STATIC_TAG = "static"
"""By which an edge forgets all static files."""


class EncodedFile(StaticFile):
    """A static file whose encodings have ETags of their own.

    servestatic gives all of them the same strong one, with which a cache that holds the brotli
    body may answer 304 to a browser that holds the plain one, and join ranges of both.
    """

    @staticmethod
    def get_alternatives(base_headers: Headers, files: Mapping[str | None, Any]) -> list[Any]:
        alternatives = StaticFile.get_alternatives(base_headers, files)
        return [
            (encoding, path, _with_etag(headers, _etag(base_headers["ETag"] or path, encoding)))
            for encoding, path, headers in alternatives
        ]

    def get_response(self, method: str, request_headers: Mapping[str, str]) -> Response:
        _, headers = self.get_path_and_headers(request_headers)
        etag = dict(headers)["ETag"]
        asked = request_headers.get("HTTP_IF_NONE_MATCH")
        if asked is not None and method in {"GET", "HEAD"}:
            if etag in (item.strip().removeprefix("W/") for item in asked.split(",")):
                kept = [(name, value) for name, value in headers if name in _KEPT_IN_304]
                return Response(self.not_modified_response.status, kept, None)
            request_headers = {**request_headers}
            del request_headers["HTTP_IF_NONE_MATCH"]
            request_headers.pop("HTTP_IF_MODIFIED_SINCE", None)  # RFC 9110: the ETag decides
        return super().get_response(method, request_headers)


_KEPT_IN_304 = {"Cache-Control", "ETag", "Vary"}


def _etag(base: str, encoding: str | None) -> str:
    tag = hashlib.blake2b(base.encode(), digest_size=8).hexdigest()
    return f'"{tag}-{encoding or "id"}"'


def _with_etag(headers: list[tuple[str, str | None]], etag: str) -> list[tuple[str, str | None]]:
    return [(name, etag if name == "ETag" else value) for name, value in headers]


class OriginStatic(ServeStatic):
    def get_static_file(
        self, path: str, url: str, stat_cache: dict[str, os.stat_result] | None = None
    ) -> StaticFile:
        if stat_cache is None and not os.path.exists(path):  # noqa: PTH110 - as its base class
            raise MissingFileError(path)
        headers = Headers([])
        self.add_mime_headers(headers, path, url)
        self.add_cache_headers(headers, path, url)
        headers["X-Content-Type-Options"] = "nosniff"
        if conf().provider:
            headers["Surrogate-Key"] = STATIC_TAG
        headers["Access-Control-Allow-Origin"] = "*"  # fonts and modules from a CDN's host
        encodings = {"zstd": f"{path}.zstd", "gzip": f"{path}.gz", "br": f"{path}.br"}
        return EncodedFile(path, headers.items(), encodings=encodings, stat_cache=stat_cache)


def wrap(application: Callable[..., Iterable[bytes]]) -> OriginStatic:
    """Return `application` with the files of STATIC_ROOT answered before it.

    The list of files is read once, at start: a new build needs new processes, as it does anyway
    for the templates that name its files.
    """
    return OriginStatic(
        application,
        root=settings.STATIC_ROOT,
        prefix=settings.STATIC_URL,
        max_age=UNHASHED_MAX_AGE_S,
        allow_all_origins=False,
        immutable_file_test=lambda path, url: HASHED_NAME.match(url) is not None,
    )
