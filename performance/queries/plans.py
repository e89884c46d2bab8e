"""What the planner would do with a statement that still has $1, $2 … for its parameters."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from django.db import Error, connection, transaction

PARAMETER = re.compile(r"\$(\d+)")
TYPED_LITERAL = re.compile(r"\b(interval|timestamptz|timestamp|date|time)\s+(\$\d+)", re.IGNORECASE)
"""`interval '1 day'` comes out of the server's statistics as `interval $1`, which is no SQL."""
EXTRACTED = re.compile(r"\bextract\s*\(\s*\$\d+\s+from\b", re.IGNORECASE)
"""And `extract(epoch FROM …)` as `extract($1 FROM …)`; any field costs the same."""
MOST_GUESSES = 100
KEPT_TYPES = 500
_numbers = itertools.count(1)
_types: dict[str, list[str]] = {}


def explain(cursor: Any, sql: str) -> dict[str, Any]:
    """Return the root of the generic plan of one statement, which is not executed.

    As a prepared statement with a generic plan, and not by EXPLAIN (GENERIC_PLAN): that came with
    PostgreSQL 16, this works with 15, and takes types for parameters. Where the server cannot tell
    one (the statistics replace constants too, in `concat($1, …)`), it is tried as text. Raises
    django.db.Error for what the server will not plan; the transaction around stands all the same.
    """
    text = EXTRACTED.sub("extract(epoch FROM", TYPED_LITERAL.sub(r"\2::\1", sql))
    highest = max((int(number) for number in PARAMETER.findall(text)), default=0)
    types = _types.get(sql) or ["unknown"] * highest
    for _ in range(min(highest, MOST_GUESSES)):
        try:
            plan = _explain(cursor, text, types)
            break
        except Error as error:
            unknown = PARAMETER.search(str(error))
            state = getattr(error.__cause__, "sqlstate", "")
            if state != "42P18" or unknown is None or types[int(unknown[1]) - 1] == "text":
                raise
            types[int(unknown[1]) - 1] = "text"
    else:
        plan = _explain(cursor, text, types)
    if len(_types) < KEPT_TYPES:
        _types[sql] = types
    return plan


def _explain(cursor: Any, sql: str, types: list[str]) -> dict[str, Any]:
    # psycopg must not look for its own parameters in it: % stands for itself without arguments.
    name = f"advised_{next(_numbers)}"
    declared = f"({', '.join(types)})" if types else ""
    values = f"({', '.join(['NULL'] * len(types))})" if types else ""
    try:
        with transaction.atomic():
            cursor.execute("SET LOCAL plan_cache_mode = 'force_generic_plan'")
            cursor.execute(f"PREPARE {name}{declared} AS {sql}")
            cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{values}")
            found = cursor.fetchone()[0]
    except Error:
        # A prepared statement outlives the savepoint that was rolled back.
        cursor.execute("SELECT 1 FROM pg_prepared_statements WHERE name = %s", [name])
        if cursor.fetchone():
            cursor.execute(f"DEALLOCATE {name}")
        raise
    cursor.execute(f"DEALLOCATE {name}")
    found = json.loads(found) if isinstance(found, str) else found
    plan: dict[str, Any] = found[0]["Plan"]
    return plan


def cost(cursor: Any, sql: str) -> float | None:
    """Return the planner's total cost of `sql`; None for what it will not plan."""
    try:
        return float(explain(cursor, sql)["Total Cost"])
    except Error:
        return None  # its tables are gone, it is another role's, it is no single statement


def server_version() -> int:
    """Return the server's version as 150004."""
    connection.ensure_connection()
    version: int = connection.connection.info.server_version
    return version
