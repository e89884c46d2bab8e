"""One statement under the glass: its plan, its history, its callers."""

from __future__ import annotations

import re
from typing import Any

import redis
from django.db import Error, connection, transaction

from performance.queries import capture, plan_tree, plans, plans_kept, statistics
from performance.queries.errors import StatisticsMissing
from performance.queries.fingerprint import fingerprint
from performance.queries.models import QueryMinute

QUERY_ID = re.compile(r"-?[0-9]{1,19}")
HISTORY_MINUTES = 24 * 60


def look(*, plan: str = "", query: str = "") -> dict[str, Any]:
    """Return what is known of a kept plan, or of the statement with the server's id `query`.

    `notice` says why there is nothing. Nothing is run: the plan of a statement is the planner's.
    """
    chosen: dict[str, Any] = {"plan": plan, "query": query, "notice": "", "nodes": []}
    if plan:
        return chosen | _kept(plan)
    if not query:
        return chosen
    if not QUERY_ID.fullmatch(query) or abs(int(query)) >= 2**63:
        return chosen | {"notice": f"{query!r:.60} is no query id; it is a whole number."}
    try:
        found = statistics.one(int(query))
    except StatisticsMissing as error:
        return chosen | {"notice": str(error)}
    if found is None:
        return chosen | {"notice": f"The server counts no statement {query} (any more)."}
    return chosen | {"statement": found.as_dict(), **_of_statement(found)}


def _kept(name: str) -> dict[str, Any]:
    try:
        found = plans_kept.kept_plan(name)
    except redis.RedisError:
        return {"notice": "The bus is away, and with it the kept plans."}
    if found is None:
        return {"notice": f"No plan is kept as {name!r:.40}; they are kept for an hour."}
    root = found["plan"][0]
    return {
        "sql": found["sql"],
        "planning_ms": root.get("Planning Time"),
        "execution_ms": root.get("Execution Time"),
        "nodes": [node.as_dict() for node in plan_tree.tree(root["Plan"])],
    }


def _of_statement(found: statistics.Statement) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    why = ""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 1500")
            nodes = [node.as_dict() for node in plan_tree.tree(plans.explain(cursor, found.sql))]
            transaction.set_rollback(True)
    except Error as error:
        why = f"The planner does not take it by itself: {str(error).splitlines()[0]}"
    mine = fingerprint(found.sql)
    callers = [
        one
        for key in (capture.FINDINGS_KEY, capture.SLOW_KEY)
        for one in capture.findings(key)
        if one["key"].endswith(f"|{mine}")
    ]
    minutes = QueryMinute.objects.filter(shape__query_id=found.query_id).order_by("-minute")
    history = [
        {
            "minute": f"{row.minute:%Y-%m-%d %H:%M}",
            "calls": row.calls,
            "total_ms": row.total_ms,
            "mean_ms": row.total_ms / row.calls,
            "rows": row.rows,
        }
        for row in minutes[:HISTORY_MINUTES]
    ]
    return {"nodes": nodes, "plan_missing": why, "callers": callers, "history": history}
