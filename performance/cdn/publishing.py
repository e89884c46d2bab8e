"""Publishing a build: only what the bucket lacks, in parallel, and the manifest last."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import mimetypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from performance.cdn.conf import conf
from performance.cdn.errors import BucketRefused, PublishFailed
from performance.cdn.serving import HASHED_NAME

MANIFEST = "staticfiles.json"
LATEST = (MANIFEST, "assets.json")
"""What tells of a build is overwritten by the next one."""
ENCODINGS = {".br": "br", ".gz": "gzip", ".zstd": "zstd"}
FOREVER = "public, max-age=31536000, immutable"
SHORT = "public, max-age=60"
BUCKET_THERE = {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}


@dataclass(frozen=True, slots=True)
class Build:
    """What stands in STATIC_ROOT: path below it, and size in bytes."""

    root: Path
    files: dict[str, int]

    @property
    def manifest_hash(self) -> str:
        return hashlib.blake2b((self.root / MANIFEST).read_bytes(), digest_size=16).hexdigest()

    @property
    def bytes_by_encoding(self) -> dict[str, int]:
        totals = {"identity": 0, "br": 0, "gzip": 0, "zstd": 0}
        for name, size_bytes in self.files.items():
            totals[ENCODINGS.get(Path(name).suffix, "identity")] += size_bytes
        return totals


@dataclass(slots=True)
class Upload:
    """What one publication did. `failed` maps a path to the reason."""

    sent: int = 0
    sent_bytes: int = 0
    present: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def current_build() -> Build:
    """Read STATIC_ROOT; FileNotFoundError when collectstatic never ran.

    Files of earlier builds and under plain names are no part of it: no page of this one names them.
    """
    root = Path(settings.STATIC_ROOT)
    if not (root / MANIFEST).is_file():
        raise FileNotFoundError(f"{root} has no {MANIFEST}: run collectstatic first.")
    named = json.loads((root / MANIFEST).read_text())["paths"].values()
    wanted = [
        *LATEST,
        *(name + suffix for name in sorted(set(named)) for suffix in ("", *ENCODINGS)),
    ]
    return Build(root, dict(_sizes(root, wanted)))


def _sizes(root: Path, names: list[str]) -> Iterator[tuple[str, int]]:
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # no encoding that would not be smaller
            yield name, os.stat(f"{root}/{name}").st_size  # noqa: PTH116 - a thousand of them


@dataclass(frozen=True, slots=True)
class Stored:
    """An object of the bucket, as its list has it."""

    size_bytes: int
    md5: str
    """Of its content, in hex; something else where the store encrypts or had it in parts."""


def upload(build: Build, on_file: Callable[[str, int], None]) -> Upload:
    """Send what the bucket lacks, `conf().upload_threads` at a time, then the manifest.

    A hashed name that is there is the same content, so it is never sent again; the manifest is
    when its content differs. With nothing changed it is one call a thousand objects. Killed
    half-way, the next run sends the rest; two at once send the same bytes to the same names.
    Raises PublishFailed, with the manifest untouched, when any file did not arrive.
    """
    there = existing()
    done = Upload()
    missing = [name for name in build.files if not _is_there(build, name, there.get(name))]
    for name in build.files.keys() - missing:
        done.present += 1
        on_file(name, build.files[name])
    first = [name for name in missing if name != MANIFEST]
    with ThreadPoolExecutor(conf().upload_threads) as pool:
        for name, why in pool.map(lambda name: (name, _put(build.root, name)), first):
            _settle(done, build, name, why)
            on_file(name, build.files[name])
    if not done.failed and MANIFEST in missing:
        _settle(done, build, MANIFEST, _put(build.root, MANIFEST))
        on_file(MANIFEST, build.files[MANIFEST])
    if done.failed:
        raise PublishFailed(done.failed, total=len(build.files))
    return done


def _is_there(build: Build, name: str, stored: Stored | None) -> bool:
    if stored is None or stored.size_bytes != build.files[name]:
        return False
    if HASHED_NAME.match(name):
        return True
    content = (build.root / name).read_bytes()
    return stored.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()


def _settle(done: Upload, build: Build, name: str, why: str) -> None:
    if why:
        done.failed[name] = why
    else:
        done.sent += 1
        done.sent_bytes += build.files[name]


def make_bucket() -> None:
    """Make the bucket unless it is there; for a local store, where nobody else does."""
    s3 = client()
    try:
        s3.create_bucket(Bucket=conf().bucket)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in BUCKET_THERE:
            raise


def existing() -> dict[str, Stored]:
    """List the bucket; one call a thousand objects.

    Raises BucketRefused when it cannot be listed, or does not answer in time.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=conf().bucket)
        return {
            item["Key"]: Stored(item["Size"], item.get("ETag", "").strip('"'))
            for page in pages
            for item in page.get("Contents", ())
        }
    except (ClientError, BotoCoreError) as error:
        raise BucketRefused(conf().bucket, str(error)) from error


def remove(names: list[str]) -> None:
    """Delete objects, a thousand a call."""
    for start in range(0, len(names), 1000):
        keys = [{"Key": name} for name in names[start : start + 1000]]
        client().delete_objects(Bucket=conf().bucket, Delete={"Objects": keys, "Quiet": True})


def _put(root: Path, name: str) -> str:
    """Upload one file; return why it failed, or an empty string."""
    from botocore.exceptions import BotoCoreError, ClientError

    plain = name.removesuffix(Path(name).suffix) if Path(name).suffix in ENCODINGS else name
    extra: dict[str, Any] = {
        "ContentType": mimetypes.guess_type(plain)[0] or "application/octet-stream",
        "CacheControl": FOREVER if HASHED_NAME.match(plain) else SHORT,
    }
    if plain != name:
        extra["ContentEncoding"] = ENCODINGS[Path(name).suffix]
    try:
        with (root / name).open("rb") as body:
            client().put_object(Bucket=conf().bucket, Key=name, Body=body, **extra)
    except (ClientError, BotoCoreError, OSError) as error:
        return str(error)
    return ""


@functools.cache
def client() -> Any:
    # boto3 costs every process 0.2 s and 20 MB to import, and only publishing needs it.
    import boto3
    from botocore.config import Config

    limits = Config(
        connect_timeout=conf().timeout_s,
        read_timeout=conf().timeout_s * 4,
        retries={"max_attempts": 3, "mode": "standard"},
        max_pool_connections=conf().upload_threads,
    )
    return boto3.client("s3", endpoint_url=conf().s3_endpoint or None, config=limits)
