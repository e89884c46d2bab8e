"""Publishing a build: only what the bucket lacks, in parallel, and the manifest last."""

from __future__ import annotations

import functools
import hashlib
import json
import mimetypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
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
    files = {name: (root / name).stat().st_size for name in wanted if (root / name).is_file()}
    return Build(root, files)


def upload(build: Build, on_file: Callable[[str, int], None]) -> Upload:
    """Send what the bucket lacks, `conf().upload_threads` at a time, then the manifest.

    A hashed name that is there is the same content, so it is never sent again. Killed half-way,
    the next run sends the rest; two at once send the same bytes to the same names. Raises
    PublishFailed, with the manifest untouched, when any file did not arrive.
    """
    there = existing()
    done = Upload()
    missing = []
    for name, size_bytes in build.files.items():
        if name == MANIFEST:
            continue  # the last one
        if HASHED_NAME.match(name) and there.get(name) == size_bytes:
            done.present += 1
            on_file(name, size_bytes)
        else:
            missing.append(name)
    with ThreadPoolExecutor(conf().upload_threads) as pool:
        for name, why in pool.map(lambda name: (name, _put(build.root, name)), missing):
            if why:
                done.failed[name] = why
            else:
                done.sent += 1
                done.sent_bytes += build.files[name]
            on_file(name, build.files[name])
    if done.failed:
        raise PublishFailed(done.failed, total=len(build.files))
    why = _put(build.root, MANIFEST)
    if why:
        raise PublishFailed({MANIFEST: why}, total=len(build.files))
    done.sent += 1
    done.sent_bytes += build.files[MANIFEST]
    return done


def make_bucket() -> None:
    """Make the bucket unless it is there; for a local store, where nobody else does."""
    try:
        client().create_bucket(Bucket=conf().bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in BUCKET_THERE:
            raise


def existing() -> dict[str, int]:
    """List the bucket: name and size in bytes; one call a thousand objects.

    Raises BucketRefused when it cannot be listed, or does not answer in time.
    """
    try:
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=conf().bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}
    except (ClientError, BotoCoreError) as error:
        raise BucketRefused(conf().bucket, str(error)) from error


def remove(names: list[str]) -> None:
    """Delete objects, a thousand a call."""
    for start in range(0, len(names), 1000):
        keys = [{"Key": name} for name in names[start : start + 1000]]
        client().delete_objects(Bucket=conf().bucket, Delete={"Objects": keys, "Quiet": True})


def _put(root: Path, name: str) -> str:
    """Upload one file; return why it failed, or an empty string."""
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
    limits = Config(
        connect_timeout=conf().timeout_s,
        read_timeout=conf().timeout_s * 4,
        retries={"max_attempts": 3, "mode": "standard"},
        max_pool_connections=conf().upload_threads,
    )
    return boto3.client("s3", endpoint_url=conf().s3_endpoint or None, config=limits)
