"""A pytest plugin: servers of the tests' own, there before Django reads its settings.

It is named in pyproject.toml (`-p protipp.stack.testing`) and not in a conftest, because
pytest-django loads the settings before any conftest. A running `make run` is never touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from protipp.stack.servers import Servers


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    wanted = early_config.known_args_namespace
    if wanted.help or wanted.version:
        return
    if getattr(wanted, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # with several at once each worker has servers of its own, and their head has none
    local = Path(tempfile.mkdtemp(prefix="protipp-tests-"))
    local.chmod(0o711)  # ours and new: as root, PostgreSQL's account must pass through
    servers = Servers(local, durable=False)
    early_config.add_cleanup(lambda: _remove(servers.folders))
    early_config.add_cleanup(servers.stop)  # the last one added is called first
    os.environ |= {
        "PROTIPP_LOCAL_DIR": str(local),
        "PROTIPP_PROCESS": "test",
        "SECRET_KEY": "only-for-the-tests-and-long-enough-for-the-checks-of-django",
        **servers.start(),
    }


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
