"""What a test asked of the database, and what is wrong with it: N+1s and missing indexes.

A test's tables are tiny, so the planner reads them whole whatever indexes there are. It is asked
again with `enable_seqscan` off: what it still reads whole, to filter by a column, has no index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import Error, connection, transaction

from performance.queries.candidates import candidates
from performance.queries.capture import calling_line
from performance.queries.fingerprint import shape
from performance.queries.n_plus_one import remedy

N_PLUS_ONE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    kind: str
    """`n_plus_one` or `missing_index`."""
    sql: str
    """The statement's shape: no literals."""
    line: str
    """`file:line in function` that asked."""
    count: int
    remedy: str

    def __str__(self) -> str:
        what = f"asked {self.count} times" if self.kind == "n_plus_one" else "no index serves it"
        return f"{what}: {self.sql[:300]}\n    at {self.line or 'unknown'}\n    {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Watched:
    """Each statement text with its first parameters, how often it was asked, and from where."""

    asked: dict[str, list[Any]] = field(default_factory=dict)

    def note(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        seen = self.asked.setdefault(sql, [0, params, ""])
        seen[0] += 1
        if not seen[2]:
            seen[2] = calling_line()
        return execute(sql, params, many, context)

    def problems(
        self, *, n_plus_one: int = N_PLUS_ONE, small: Collection[str] = (), indexes: bool = True
    ) -> list[Problem]:
        """Return what is wrong. `small` names tables that may be read whole, as they stay small.

        Explains each reading statement once, in savepoints; executes nothing.
        """
        found = []
        for sql, (count, _, line) in self.asked.items():
            if count >= n_plus_one:
                others = [other for other in self.asked if other != sql]
                found.append(
                    Problem(
                        kind="n_plus_one",
                        sql=shape(sql),
                        line=line,
                        count=count,
                        remedy=remedy(sql, others),
                    )
                )
        for sql, (count, params, line) in self.asked.items() if indexes else ():
            for table, columns in _unserved(sql, params).items():
                if table not in small:
                    found.append(
                        Problem(
                            kind="missing_index",
                            sql=shape(sql),
                            line=line,
                            count=count,
                            remedy=f"An index on {table} ({', '.join(columns)}) would serve it; "
                            f"where {table} stays small, name it in `small`.",
                        )
                    )
        return found


@contextmanager
def watching() -> Iterator[Watched]:
    """Collect what is asked of the default database within the block."""
    watched = Watched()
    with connection.execute_wrapper(watched.note):
        yield watched


def _unserved(sql: str, params: Any) -> dict[str, tuple[str, ...]]:
    """Return the tables that no index serves in this statement, with the columns it asks by."""
    if not sql.lstrip("( \n").lower().startswith(("select", "with")):
        return {}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN (FORMAT JSON) " + sql, params)
            plan = cursor.fetchone()[0]
            cursor.execute("SET LOCAL enable_seqscan = on")
    except Error:
        return {}  # it is broken by itself; the test that asked it says so
    plan = json.loads(plan) if isinstance(plan, str) else plan
    whole = set(_filtered(plan[0]["Plan"]))
    if not whole:
        return {}
    with connection.cursor() as cursor:
        columns_of = {
            table: [
                column.name
                for column in connection.introspection.get_table_description(cursor, table)
            ]
            for table in whole
        }
    found: dict[str, tuple[str, ...]] = {}
    for candidate in candidates(sql.replace("%s", "$1"), columns_of):
        found.setdefault(candidate.table, candidate.columns)
    return found


def _filtered(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and "Filter" in node:
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _filtered(child)
