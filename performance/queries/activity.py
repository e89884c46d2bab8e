"""What the server does at this moment: running statements, who blocks whom, and how to end one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from performance.queries.errors import BackendNotOurs

_RUNNING = """
    SELECT pid, backend_start, state, application_name, coalesce(usename, '') AS role,
           extract(epoch FROM clock_timestamp() - query_start)::float8 * 1000 AS ms,
           coalesce(wait_event_type || ': ' || wait_event, '') AS waits_for,
           pg_blocking_pids(pid) AS blocked_by,
           left(query, 2000) AS sql
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
      AND pid <> pg_backend_pid() AND state <> 'idle'
    ORDER BY query_start NULLS LAST
"""


def running() -> list[dict[str, Any]]:
    """Return the statements under way, longest first; `blocked_by` holds the pids they wait for.

    `backend_start` is ISO 8601 with microseconds: with the pid it names one backend for ever.
    """
    return [
        {**row, "backend_start": row["backend_start"].isoformat(timespec="microseconds")}
        for row in rows(_RUNNING)
    ]


def connections() -> list[dict[str, Any]]:
    """Return how many connections each application holds, by state."""
    return rows(
        """
        SELECT application_name, coalesce(state, 'none') AS state, count(*) AS connections
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
        GROUP BY 1, 2 ORDER BY 3 DESC
        """
    )


def lock_tree(under_way: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return each blocked backend below the one that blocks it: `depth` 0 is a root.

    A backend that waits for two stands below both. A cycle, which the server ends by itself after
    a second, is cut where it closes.
    """
    waiting = {row["pid"]: row for row in (running() if under_way is None else under_way)}
    blocked_by = {pid: set(row["blocked_by"]) for pid, row in waiting.items()}
    roots = sorted({pid for pids in blocked_by.values() for pid in pids if not blocked_by.get(pid)})
    tree: list[dict[str, Any]] = []

    def add(pid: int, depth: int, above: frozenset[int]) -> None:
        row = waiting.get(pid, {"pid": pid, "sql": "(not visible to our role)", "ms": None})
        tree.append({**row, "depth": depth, "steps": list(range(depth))})
        for child, pids in sorted(blocked_by.items()):
            if pid in pids and child not in above:
                add(child, depth + 1, above | {child})

    for root in roots:
        add(root, 0, frozenset({root}))
    return tree


def cancel(pid: int, backend_start: datetime) -> None:
    """Cancel the statement that a backend runs; its connection lives on."""
    _signal("pg_cancel_backend", pid, backend_start)


def terminate(pid: int, backend_start: datetime) -> None:
    """End a backend and its connection; its open transaction is rolled back."""
    _signal("pg_terminate_backend", pid, backend_start)


def _signal(function: str, pid: int, backend_start: datetime) -> None:
    """Signal a client's backend, only if it is still the same one: pids are used again."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT {function}(pid) FROM pg_stat_activity
            WHERE pid = %s AND backend_start = %s AND backend_type = 'client backend'
              AND datname = current_database() AND pid <> pg_backend_pid()
            """,
            [pid, backend_start],
        )
        row = cursor.fetchone()
    if row is None:
        raise BackendNotOurs(
            pid,
            "it is gone, or its number is another backend's by now, or it is no client of this "
            "database. Look at the running statements again.",
        )
    if not row[0]:
        raise BackendNotOurs(pid, "the server could not signal it; it may just have ended.")


def rows(sql: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
