"""What all tests share. Their servers come from `protipp.stack.testing`, before Django loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from django.conf import settings

from performance.core import stores

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("PROTIPP_SAMPLES") or ROOT.parent / "shared" / "data")

# Nothing is built for the tests, so files keep their plain names; tests/performance/cdn builds.
settings.STORAGES["staticfiles"]["BACKEND"] = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
)


@pytest.fixture(autouse=True)
def _empty_stores():
    """No test sees what another left in either Valkey; costs about 0.2 ms."""
    stores.bus().flushall()
    stores.cache_store().flushall()


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real odds, which are no part of the repository."""
    if not SAMPLES.is_dir():
        pytest.skip(f"PROTIPP_SAMPLES: no real odds at {SAMPLES}")
    return SAMPLES


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's chromium."""
    return program("chromium")


def program(name: str) -> str:
    """Return where `name` is; without it the test skips by name, or fails in CI."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and in CI no test may skip for that")
    pytest.skip(f"{name} is not installed")
