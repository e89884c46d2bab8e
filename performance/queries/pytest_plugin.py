"""A pytest plugin that fails tests for N+1s and missing indexes.

Named as `-p performance.queries.pytest_plugin`, or in `pytest_plugins` of the root conftest.

    @pytest.mark.check_queries(n_plus_one=5, small=["shop_country"])
    def test_the_shelf(client): ...

    def test_the_till(check_queries):
        with check_queries(n_plus_one=3):
            ...

`--check-queries` checks every test; `manage.py check_queries` runs pytest so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

MARKER = "check_queries(n_plus_one=10, small=(), indexes=True): fail on N+1s and missing indexes"
_found = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("queries")
    group.addoption("--check-queries", action="store_true", help="check every test's queries")
    group.addoption("--check-queries-report", metavar="FILE", help="write what was found as JSON")
    group.addoption(
        "--check-queries-small", default="", metavar="TABLES", help="tables that may be read whole"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[_found] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    report = session.config.getoption("--check-queries-report")
    if report:
        Path(report).write_text(json.dumps(session.config.stash[_found]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    marker = item.get_closest_marker("check_queries")
    if marker is None and not item.config.getoption("--check-queries"):
        return (yield)
    with _checked(item, **(marker.kwargs if marker else {})):
        return (yield)


@pytest.fixture
def check_queries(
    request: pytest.FixtureRequest,
) -> Callable[..., AbstractContextManager[None]]:
    """`with check_queries(n_plus_one=3, small=[…]): …` fails for what is asked within."""

    @contextmanager
    def check(**limits: Any) -> Iterator[None]:
        with _checked(request.node, **limits):
            yield

    return check


@contextmanager
def _checked(item: pytest.Item, **limits: Any) -> Iterator[None]:
    from performance.queries.checking import watching  # Django is set up by now, not earlier

    small = [name for name in item.config.getoption("--check-queries-small").split(",") if name]
    limits["small"] = [*limits.get("small", ()), *small]
    with watching() as watched:
        yield
    problems = watched.problems(**limits)
    item.config.stash[_found] += [{"test": item.nodeid, **one.as_dict()} for one in problems]
    if problems:
        pytest.fail("\n".join(str(one) for one in problems), pytrace=False)
