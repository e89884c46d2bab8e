"""What the page and `cache_status` show: every family over all processes, and the store itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from performance.caching import stats
from performance.caching.families import Family
from performance.core import stores


def overview(families: Sequence[Family[..., Any]]) -> dict[str, Any]:
    """Return it as JSON-ready values; what cannot be had while a server is away is None or empty.

    About four round trips. Ratios are 0 to 1, and None without any read.
    """
    try:
        totals, processes, error = stats.totals(), stats.processes(), None
    except stats.Away as away:
        totals, processes, error = {}, [], f"The counters are away with REDIS_URL: {away}"
    rows = [_family(family, totals.get(family.name, {}), processes) for family in families]
    return {
        "window_minutes": stats.WINDOW_MINUTES,
        "error": error,
        "total": _sum(rows),
        "families": rows,
        "processes": processes,
        "server": server(),
    }


def _family(
    family: Family[..., Any], counters: dict[str, int], processes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    def count(name: str) -> int:
        return counters.get(name, 0)

    reads = sum(map(count, ("hit_l1", "hit_l2", "stale", "fallback", "miss", "bypass")))
    loads, policy = count("loads"), family.policy
    buckets = {int(name[1:]): number for name, number in counters.items() if name[1:].isdigit()}
    audited = count("audited")
    return {
        "name": family.name,
        "ttl_s": policy.ttl_s,
        "strategy": policy.strategy,
        "version": policy.version,
        "overridden": policy != family.defaults,
        "warmed": family.warm is not None,
        "reads": reads,
        "memory_ratio": count("hit_l1") / reads if reads else None,
        "store_ratio": count("hit_l2") / reads if reads else None,
        "hit_ratio": 1 - (count("miss") + count("bypass")) / reads if reads else None,
        "misses": count("miss") + count("bypass"),
        "stale": count("stale"),
        "fallback": count("fallback"),
        "failed": count("failed"),
        "waited": count("waited"),
        "early": count("early"),
        "unreadable": count("unreadable"),
        "too_big": count("too_big"),
        "loads": loads,
        "load_mean_ms": count("load_us") / 1000 / loads if loads else None,
        "load_p95_ms": stats.percentile_ms(buckets, 0.95),
        "saved_s": count("saved_us") / 1e6,
        "written_bytes": count("written_bytes"),
        "entries": sum(process["entries"].get(family.name, 0) for process in processes),
        "held_bytes": sum(process["bytes"].get(family.name, 0) for process in processes),
        "oldest_s": max(
            (process["ages"].get(family.name, 0.0) for process in processes), default=0.0
        ),
        "audited_stale_ratio": count("audited_stale") / audited if audited else None,
    }


def _sum(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    reads = sum(row["reads"] for row in rows)
    misses = sum(row["misses"] for row in rows)
    return {
        "reads": reads,
        "hit_ratio": 1 - misses / reads if reads else None,
        "saved_s": sum(row["saved_s"] for row in rows),
        "stale": sum(row["stale"] + row["fallback"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "entries": sum(row["entries"] for row in rows),
        "held_bytes": sum(row["held_bytes"] for row in rows),
    }


def server() -> dict[str, Any]:
    """Return the store's memory, policy and evictions; `error` says why when it is away."""
    try:
        info: Any = stores.cache_store().info("everything")
    except (redis.RedisError, OSError) as error:
        return {"error": str(error) or type(error).__name__}
    return {
        "error": None,
        "version": info.get("valkey_version") or info.get("redis_version"),
        "used_bytes": info["used_memory"],
        "limit_bytes": info["maxmemory"] or None,
        "policy": info["maxmemory_policy"],
        "evicted": info["evicted_keys"],
        "keys": sum(database["keys"] for name, database in info.items() if _is_database(name)),
    }


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()
