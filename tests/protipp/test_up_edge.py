"""`up --edge`: the whole site with a real Varnish before it and a real object store beside it."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import boto3
import pytest

from tests.conftest import Up, program

pytestmark = pytest.mark.stack


class WithEdge(Up):
    @property
    def argv(self):
        return [*super().argv, "--edge"]


@pytest.fixture(scope="module")
def stack():
    program("varnishd")
    local = Path(tempfile.mkdtemp(prefix="protipp-edge-"))
    local.chmod(0o711)
    made = WithEdge(local)
    try:
        yield made.start()
    finally:
        made.end()
        shutil.rmtree(local, ignore_errors=True)


def environment(stack):
    return json.loads((stack.local / "stack.json").read_text())["environment"]


def test_public_answers_come_from_the_edge_until_they_are_purged(stack):
    path = "/api/v1/sports"
    stack.answer(path)
    stack.until(lambda: "edge; hit" in stack.answer(path)[0]["Cache-Status"], within_s=20)
    said = json.loads(stack.command("purge_cdn", "--url", path, "--check", "--json"))

    assert said["state"] == "sent"
    assert said["answer"].startswith("Removed")
    assert said["read_back"][0]["fresh"]


def test_what_is_for_one_person_never_meets_it(stack):
    headers, _ = stack.answer("/admin/login/")

    assert "hit" not in (headers["Cache-Status"] or "").rpartition(",")[2]


def test_the_build_is_in_the_bucket(stack):
    own = environment(stack)
    client = boto3.client(
        "s3",
        endpoint_url=own["STATIC_S3_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=own["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=own["AWS_SECRET_ACCESS_KEY"],
    )
    found = client.list_objects_v2(Bucket=own["STATIC_S3_BUCKET"], Prefix="staticfiles.json")

    assert found["KeyCount"] == 1


def test_varnish_killed_is_started_again(stack):
    killed = stack.noted()["varnish"]
    os.kill(killed, signal.SIGKILL)

    assert stack.status("/api/v1/sports") == 200
    stack.until(lambda: stack.noted().get("varnish") not in (None, killed), within_s=30)
