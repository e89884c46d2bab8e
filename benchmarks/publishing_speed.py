"""publish_static beside `S3ManifestStaticStorage`'s collectstatic, to one SeaweedFS.

Both start from the same sources and an empty bucket, and run a second time with nothing changed.
Ours is measured as people run it (`publish_static`, build included) and as a deployment does that
has built already (`--no-build`).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

LEFT_OUT = ["*.map", "ninja"]
"""What the other refuses: it looks for the source map that a minified file names."""
THEIRS, OURS = "bench-theirs", "bench-ours"
KEYS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from protipp.stack.errors import StackError

    folder = Path(tempfile.mkdtemp(prefix="protipp-bench-s3-"))
    try:
        server, address = _seaweed(folder)
    except StackError as error:
        report.say(f"- not measured: {error}")
        return
    os.environ |= KEYS
    try:
        _measure(report, folder, address)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _seaweed(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    import json

    from protipp.stack import edge, nodes
    from protipp.stack.ports import free_port

    config, data, port = folder / "s3.json", folder / "data", free_port()
    data.mkdir()
    keys = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    one = {"name": "bench", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    config.write_text(json.dumps({"identities": [one]}))
    server = subprocess.Popen(
        edge.seaweed_command(data, config, port),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while nodes.answers("127.0.0.1", port, "/status")() is not None:
        time.sleep(0.1)
    return server, f"http://127.0.0.1:{port}"


def _measure(report: Report, folder: Path, address: str) -> None:
    import boto3
    from django.conf import settings
    from django.core.management import call_command
    from django.test.utils import override_settings

    from performance.cdn import publishing

    client = boto3.client("s3", endpoint_url=address)
    for bucket in (THEIRS, OURS):
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="first", Body=b"")  # the first one makes the volume
    options: dict[str, Any] = {
        "bucket_name": THEIRS, "endpoint_url": address, "querystring_auth": False,
        "default_acl": None,
    }  # fmt: skip
    theirs = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {
            "BACKEND": "storages.backends.s3.S3ManifestStaticStorage", "OPTIONS": options,
        },
    }  # fmt: skip
    own_files = [Path(settings.BASE_DIR) / "static"]
    with override_settings(STORAGES=theirs, STATICFILES_DIRS=own_files):
        collect: Callable[[], object] = lambda: call_command(  # noqa: E731
            "collectstatic", interactive=False, verbosity=0, ignore_patterns=LEFT_OUT
        )
        their_first_s, their_again_s = _seconds(collect), _seconds(collect)
    own = {"CDN": {"bucket": OURS, "s3_endpoint": address}}
    with override_settings(
        STATIC_ROOT=folder / "static", PERFORMANCE=own, STATICFILES_DIRS=own_files
    ):
        publishing.client.cache_clear()
        build_s = _seconds(collect)
        publish: Callable[[], object] = lambda: call_command(  # noqa: E731
            "publish_static", no_build=True, stdout=io.StringIO()
        )
        our_first_s, our_again_s = _seconds(publish), _seconds(publish)
        whole_s = _seconds(lambda: (collect(), publish()))
    report.say(f"- collectstatic to S3: {their_first_s:.2f} s, and again {their_again_s:.2f} s")
    report.say(
        f"- publish_static: {our_first_s:.2f} s ({their_first_s / our_first_s:.1f}x less), and "
        f"again {our_again_s:.2f} s ({their_again_s / our_again_s:.0f}x less)"
    )
    report.say(
        f"- the build, with brotli 11 and zstd 19 that the other has not: {build_s:.2f} s "
        f"the first time; build and publication with nothing changed {whole_s:.2f} s"
    )
    report.say("- wanted: 5x less, and 40x less again")


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
