"""Static files as browsers get them: built for real, asked through the WSGI wrapper."""

import json
import re
import shutil
from pathlib import Path

import brotli
import pytest
import zstandard
from django.core.files.storage import storages
from django.core.management import call_command
from django.test.utils import override_settings

from performance.cdn import services

STORED = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "performance.cdn.storage.HashedStorage"},
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build of three modules, each importing the next, and of a style."""
    source = tmp_path_factory.mktemp("source")
    (source / "app.js").write_text(
        'import { x } from "./part.js";\n' + 'console.log("the same again", x);\n' * 40
    )
    (source / "part.js").write_text('import { y } from "./leaf.js";\nexport const x = y;\n')
    (source / "leaf.js").write_text("export const y = 1;\n")
    shutil.copy(Path("static/performance/css/pages.css").resolve(), source)
    root = tmp_path_factory.mktemp("built")
    with override_settings(
        STORAGES=STORED,
        STATIC_ROOT=root,
        STATICFILES_DIRS=[source],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
        yield root


@pytest.fixture
def ask(build, settings):
    settings.STATIC_ROOT = build
    application = services.serve_static(_django)

    def get(path, method="GET", **headers):
        answer = {}

        def start_response(status, fields):
            answer.update(status=int(status.split()[0]), headers=dict(fields))

        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **headers}
        chunks = application(environ, start_response)
        answer["body"] = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()  # as a WSGI server does
        return answer

    return get


def _django(environ, start_response):
    start_response("404 Not Found", [])
    return [b"django"]


def hashed(build, name):
    return "/static/" + json.loads((Path(build) / "staticfiles.json").read_text())["paths"][name]


def test_a_module_imports_the_hashed_name_of_another(build, ask):
    body = ask(hashed(build, "part.js"))["body"].decode()

    assert re.search(r'from "./leaf\.[0-9a-f]{12}\.js"', body)


def test_a_hashed_file_may_be_kept_for_ever(build, ask):
    assert "immutable" in ask(hashed(build, "app.js"))["headers"]["Cache-Control"]


def test_an_unhashed_file_may_not(build, ask):
    assert "immutable" not in ask("/static/app.js")["headers"]["Cache-Control"]


@pytest.mark.parametrize(
    ("encoding", "decode"),
    [
        ("br", brotli.decompress),
        ("zstd", lambda body: zstandard.ZstdDecompressor().decompress(body)),
    ],
)
def test_each_encoding_holds_the_same_bytes(build, ask, encoding, decode):
    name = hashed(build, "app.js")
    answer = ask(name, HTTP_ACCEPT_ENCODING=encoding)

    assert answer["headers"]["Content-Encoding"] == encoding
    assert decode(answer["body"]) == ask(name)["body"]


def test_each_encoding_has_its_own_etag(build, ask):
    name = hashed(build, "app.js")
    etags = {
        ask(name, HTTP_ACCEPT_ENCODING=encoding)["headers"]["ETag"]
        for encoding in ("br", "zstd", "gzip", "")
    }

    assert len(etags) == 4


def test_the_etag_of_one_encoding_is_no_match_for_another(build, ask):
    name = hashed(build, "app.js")
    brotli_etag = ask(name, HTTP_ACCEPT_ENCODING="br")["headers"]["ETag"]

    assert ask(name, HTTP_IF_NONE_MATCH=brotli_etag)["status"] == 200
    same = ask(name, HTTP_ACCEPT_ENCODING="br", HTTP_IF_NONE_MATCH=brotli_etag)
    assert (same["status"], same["body"]) == (304, b"")


def test_head_sends_no_body_and_other_methods_are_refused(build, ask):
    name = hashed(build, "app.js")

    assert (ask(name, "HEAD")["status"], ask(name, "HEAD")["body"]) == (200, b"")
    assert ask(name, "POST")["status"] == 405


@pytest.mark.parametrize("path", ["/", "/static/nope.js", "/static/../manage.py", "/static/%00"])
def test_what_is_no_static_file_reaches_django(ask, path):
    assert ask(path)["body"] == b"django"


def test_compression_makes_text_smaller_by_more_than_half(build):
    paths = json.loads((Path(build) / "staticfiles.json").read_text())["paths"]
    names = [paths[name] for name in ("pages.css", "app.js")]
    plain = sum((Path(build) / name).stat().st_size for name in names)
    packed = sum((Path(build) / f"{name}.br").stat().st_size for name in names)

    assert packed < plain / 2


def test_the_storage_names_what_was_built(build, settings):
    with override_settings(STORAGES=STORED, STATIC_ROOT=build):
        url = storages.create_storage(STORED["staticfiles"]).url("app.js")

    assert url == hashed(build, "app.js")
