from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from performance.caching import runtime as runtimes
from performance.caching.services import cache
from performance.core import stores

PATIENCE_S = 30.0
"""For what must come, on a machine that does other things meanwhile."""


@pytest.fixture(autouse=True)
def _patient(request, monkeypatch):
    """A machine that is busy must not look like a store that is away.

    Tests of the 50 ms themselves ask for `impatient`.
    """
    if "impatient" in request.fixturenames:
        yield
        return
    monkeypatch.setitem(stores.CACHE_OPTIONS, "socket_timeout", PATIENCE_S)
    monkeypatch.setitem(stores.CACHE_OPTIONS, "socket_connect_timeout", PATIENCE_S)
    stores.forget()
    yield
    monkeypatch.undo()
    stores.forget()


@pytest.fixture
def impatient():
    """The store is given the 50 ms that it has in production."""


@pytest.fixture(autouse=True)
def _fresh_runtime(_patient):
    """Each test has its own threads, memory and families, whatever ran before in the process."""
    known = dict(runtimes.families())
    _stop_current()
    for name in known:
        if not name.startswith("preset."):  # the room's own; all others are the product's
            del runtimes.families()[name]
    yield
    _stop_current()
    runtimes.families().clear()
    runtimes.families().update(known)


def _stop_current() -> None:
    runtime = runtimes.replace(None)
    if runtime is not None:
        runtime.stop()


@pytest.fixture
def fake():
    with cache.fake() as store:
        yield store


def _eventually(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> float:
    """Wait until `condition()` is true and return the seconds it took; fail after `within_s`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within_s:
            pytest.fail(f"not so within {within_s} s")
        time.sleep(0.002)
    return time.monotonic() - started


@pytest.fixture
def eventually():
    return _eventually


@pytest.fixture
def hearing():
    """The running cache of this process, once the store's push reaches it."""
    runtime = runtimes.current()
    _eventually(lambda: runtime.hearing)
    return runtime
