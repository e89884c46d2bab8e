"""Rules of the tree that no linter of ours holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protipp", "odds", "performance")
ABOUT_300 = 350
ROOMS = ("caching", "queries", "cdn", "balancing", "monitoring", "dashboard")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)


def name_of(path):
    return str(path.relative_to(ROOT))


def test_imports_go_down_only():
    lint = Path(sys.executable).parent / "lint-imports"
    said = subprocess.run(
        [lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_tests_are_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py")), "they would shadow the real packages"


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_has_its_own_label_for_ever(room):
    from django.apps import apps

    config = next(app for app in apps.get_app_configs() if app.name == f"performance.{room}")

    assert config.label == f"performance_{room}"
    assert config.verbose_name.startswith("Performance · ")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_can_be_read_in_one_go(path):
    lines = path.read_text().count("\n")

    assert lines <= ABOUT_300, f"{name_of(path)} has {lines} lines; part it by what it does"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=name_of
)
def test_packages_import_nothing_of_themselves(path):
    tree = ast.parse(path.read_text())

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
