"""The build's name: given, or git's, or the files' own."""

from __future__ import annotations

import subprocess

from protipp.stack import build


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, timeout=10)


def test_a_given_name_is_kept_and_one_that_is_none_is_not(tmp_path):
    assert build.name(tmp_path, {"PROTIPP_BUILD": "v1.2-rc_3"}) == "v1.2-rc_3"
    assert build.name(tmp_path, {"PROTIPP_BUILD": "a b"}).startswith("files-")


def test_without_git_the_name_changes_with_a_file(tmp_path):
    (tmp_path / "odds").mkdir()
    (tmp_path / "odds" / "a.py").write_text("1")
    first = build.name(tmp_path, {})
    again = build.name(tmp_path, {})
    (tmp_path / "odds" / "a.py").write_text("2")

    assert first == again != build.name(tmp_path, {})


def test_with_git_uncommitted_changes_are_another_build(tmp_path):
    (tmp_path / "odds").mkdir()
    code = tmp_path / "odds" / "a.py"
    code.write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    committed = build.name(tmp_path, {})
    code.write_text("2")
    changed = build.name(tmp_path, {})

    assert committed != changed
    assert changed.startswith(committed)
    assert len(changed) <= 40
