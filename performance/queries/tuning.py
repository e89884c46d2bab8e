"""The server's settings beside what this machine and load suggest, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from performance.queries.activity import rows

MIB = 2**20
NAMES = (
    "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size",
    "random_page_cost", "effective_io_concurrency", "max_connections", "autovacuum", "jit",
    "checkpoint_completion_target", "track_io_timing", "fsync", "synchronous_commit",
    "statement_timeout", "idle_in_transaction_session_timeout", "shared_preload_libraries",
    "wal_compression", "default_statistics_target", "autovacuum_vacuum_scale_factor",
)  # fmt: skip
UNITS = {"B": 1, "kB": 1024, "8kB": 8192, "MB": MIB, "GB": 1024 * MIB}


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    value: str
    """As SHOW gives it."""
    advice: str
    """What to set and why; empty where it is well."""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at. Sizes in bytes."""

    memory_bytes: int | None
    """Of the server's machine; None where it is another machine than ours."""
    database_bytes: int
    hit_ratio: float | None
    temp_bytes: int
    connections: int
    requested_checkpoint_ratio: float | None
    """Checkpoints forced by a full log, of all."""


def judge(shown: Mapping[str, tuple[str, float]], facts: Facts) -> list[Setting]:
    """Return each setting with its advice. `shown` is name: (as shown, number in bytes or plain).

    Pure. The rules of thumb are PostgreSQL's own manual's, chapter "Server Configuration".
    """
    numbers = {name: number for name, (_, number) in shown.items()}
    texts = {name: text for name, (text, _) in shown.items()}
    return [
        Setting(name, texts[name], _ADVICE[name](numbers, texts, facts) if name in _ADVICE else "")
        for name in NAMES
        if name in texts
    ]


def _shared_buffers(n: Any, t: Any, facts: Facts) -> str:
    if facts.memory_bytes is None:
        return ""
    wanted = min(facts.memory_bytes // 4, 2 * facts.database_bytes)
    low = facts.hit_ratio is not None and facts.hit_ratio < 0.99
    if n["shared_buffers"] < wanted / 2 and low:
        return (
            f"set {wanted // MIB} MB: a quarter of the memory, or twice the data; only "
            f"{facts.hit_ratio:.1%} of blocks were found in the buffers. Needs a restart."
        )
    return ""


def _cache_size(n: Any, t: Any, facts: Facts) -> str:
    if facts.memory_bytes is None or n["effective_cache_size"] >= facts.memory_bytes * 0.4:
        return ""
    return (
        f"set {facts.memory_bytes * 6 // 10 // MIB} MB, 60 % of the memory: it allocates nothing, "
        "and lets the planner trust indexes."
    )


def _work_mem(n: Any, t: Any, facts: Facts) -> str:
    if facts.temp_bytes > 100 * MIB:
        return (
            f"{facts.temp_bytes // MIB} MB went to temporary files since the statistics began: "
            "raise it for the roles or statements that sort (each sort may take it once)."
        )
    return ""


def _max_wal(n: Any, t: Any, facts: Facts) -> str:
    ratio = facts.requested_checkpoint_ratio
    if ratio is not None and ratio > 0.3:
        return f"double it: {ratio:.0%} of checkpoints came from a full log and not by the clock."
    return ""


_ADVICE: dict[str, Callable[[Any, Any, Facts], str]] = {
    "shared_buffers": _shared_buffers,
    "effective_cache_size": _cache_size,
    "work_mem": _work_mem,
    "max_wal_size": _max_wal,
    "random_page_cost": lambda n, t, f: (
        "set 1.1 on SSDs: 4 is a spinning disk's price, and keeps the planner from indexes."
        if n["random_page_cost"] >= 4
        else ""
    ),
    "max_connections": lambda n, t, f: (
        f"{f.connections} are open: near the limit; pool (DATABASE_POOL_SIZE) before raising it."
        if f.connections > 0.8 * n["max_connections"]
        else ""
    ),
    "autovacuum": lambda n, t, f: (
        "turn it on: without it tables bloat and transaction ids run out."
        if t["autovacuum"] != "on"
        else ""
    ),
    "jit": lambda n, t, f: (
        "turn it off for short queries: compiling costs more than they do."
        if t["jit"] == "on"
        else ""
    ),
    "track_io_timing": lambda n, t, f: (
        "turn it on: then plans and statistics tell reading from computing."
        if t["track_io_timing"] != "on"
        else ""
    ),
    "fsync": lambda n, t, f: (
        "turn it on: a power cut loses the database." if t["fsync"] != "on" else ""
    ),
    "idle_in_transaction_session_timeout": lambda n, t, f: (
        "set 60s: a forgotten transaction holds its locks and stops vacuum."
        if n["idle_in_transaction_session_timeout"] == 0
        else ""
    ),
    "shared_preload_libraries": lambda n, t, f: (
        "add pg_stat_statements: without it no statement's cost is known. Needs a restart."
        if "pg_stat_statements" not in t["shared_preload_libraries"]
        else ""
    ),
}


def settings(memory_bytes: int | None) -> list[Setting]:
    """Read the settings and what they are judged by; three catalogue queries."""
    found = rows(
        "SELECT name, current_setting(name) AS shown, setting, unit FROM pg_settings "
        f"WHERE name IN ({', '.join(repr(name) for name in NAMES)})"
    )
    shown = {row["name"]: (row["shown"], _number(row["setting"], row["unit"])) for row in found}
    (facts,) = rows(
        """
        SELECT pg_database_size(datname) AS database_bytes, temp_bytes,
               blks_hit::float8 / nullif(blks_hit + blks_read, 0) AS hit_ratio,
               (SELECT count(*) FROM pg_stat_activity)::int AS connections
        FROM pg_stat_database WHERE datname = current_database()
        """
    )
    return judge(
        shown,
        Facts(memory_bytes=memory_bytes, requested_checkpoint_ratio=_forced_ratio(), **facts),
    )


def _forced_ratio() -> float | None:
    """Checkpoints moved to a view of their own in PostgreSQL 17."""
    (there,) = rows("SELECT to_regclass('pg_catalog.pg_stat_checkpointer') IS NOT NULL AS new")
    view, timed, forced = (
        ("pg_stat_checkpointer", "num_timed", "num_requested")
        if there["new"]
        else ("pg_stat_bgwriter", "checkpoints_timed", "checkpoints_req")
    )
    (row,) = rows(
        f"SELECT {forced}::float8 / nullif({timed} + {forced}, 0) AS ratio, "
        f"{timed} + {forced} AS n FROM {view}"
    )
    return row["ratio"] if row["n"] >= 10 else None


def _number(setting: str, unit: str | None) -> float:
    try:
        return float(setting) * UNITS.get(unit or "", 1)
    except ValueError:
        return 0.0
