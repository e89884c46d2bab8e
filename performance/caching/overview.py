"""What the page and `cache_status` show: every family over all processes, and the store itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import redis

from performance.caching import advising, stats
from performance.caching import runtime as runtimes
from performance.caching.families import Family
from performance.core import stores

TIERS = ("memory", "store", "stale", "missed")
READS = ("hit_l1", "hit_l2", "stale", "fallback", "miss", "bypass")
COUNTED = (
    "stale", "fallback", "failed", "waited", "early", "unreadable", "too_big", "over_budget",
    "busy", "too_slow", "loads", "outdated", "evicted", "written_bytes",
)  # fmt: skip
"""Counters that a row shows as they are."""


def overview(families: Sequence[Family[..., Any]]) -> dict[str, Any]:
    """Return it as JSON-ready values; what cannot be had while a server is away is None or empty.

    About four round trips. Ratios are 0 to 1, and None without any read.
    """
    minutes: list[stats.Minute]
    try:
        minutes, processes, error = stats.by_minute(), stats.processes(), None
    except stats.Away as away:
        minutes, processes, error = [], [], f"The counters are away with REDIS_URL: {away}"
    totals = stats.added(minutes)
    rows = [_family(family, totals.get(family.name, {}), processes) for family in families]
    lags_ms = [lag for process in processes if (lag := process.get("push_lag_ms")) is not None]
    return {
        "window_minutes": stats.WINDOW_MINUTES,
        "error": error,
        "total": _sum(rows) | {"push_lag_ms": max(lags_ms, default=None)},
        "families": rows,
        "series": _series(minutes),
        "processes": processes,
        "server": server(),
    }


def settings_in_force(name: str) -> dict[str, Any]:
    """Return what a CacheConfig row would have to say to change nothing."""
    policy = runtimes.families()[name].policy
    override = runtimes.current().overrides.get(name)
    return {
        "ttl_seconds": max(1, round(policy.ttl_s)),
        "strategy": policy.strategy,
        "compression_enabled": policy.compression,
        "version": policy.version,
        "invalidation_rules": list(override.rules) if override else [],
    }


def _family(
    family: Family[..., Any], counters: dict[str, int], processes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    policy, settings = family.policy, settings_in_force(family.name)
    row = {
        "name": family.name,
        "ttl_s": policy.ttl_s,
        "strategy": policy.strategy,
        "version": policy.version,
        "overridden": family.name in runtimes.current().overrides,
        "settings": settings,
        "rules_text": "\n".join(settings["invalidation_rules"]),
        "warmed": family.warm is not None,
        **_counted(counters),
        "entries": sum(process["entries"].get(family.name, 0) for process in processes),
        "held_bytes": sum(process["bytes"].get(family.name, 0) for process in processes),
        "oldest_s": max(
            (process["ages"].get(family.name, 0.0) for process in processes), default=0.0
        ),
    }
    advice = asdict(advising.advise(_facts(family, row, counters)))
    # A row of CacheConfig holds whole seconds; less than one is for the code to say.
    advice["ttl_seconds"] = int(advice["ttl_s"] or 0) or None
    return row | {"advice": advice}


def _counted(counters: dict[str, int]) -> dict[str, Any]:
    """Return what a family's counters come to; None where nothing was counted to divide by."""

    def count(name: str) -> int:
        return counters.get(name, 0)

    reads = sum(map(count, READS))
    loads, audited = count("loads"), count("audited")
    buckets = {int(name[1:]): number for name, number in counters.items() if name[1:].isdigit()}
    return {
        "reads": reads,
        "memory_ratio": count("hit_l1") / reads if reads else None,
        "store_ratio": count("hit_l2") / reads if reads else None,
        "stale_ratio": (count("stale") + count("fallback")) / reads if reads else None,
        "hit_ratio": 1 - (count("miss") + count("bypass")) / reads if reads else None,
        "misses": count("miss") + count("bypass"),
        "load_mean_ms": count("load_us") / 1000 / loads if loads else None,
        "load_p95_ms": stats.percentile_ms(buckets, 0.95),
        "saved_s": count("saved_us") / 1e6,
        "audited": audited,
        "audited_stale_ratio": count("audited_stale") / audited if audited else None,
        **{name: count(name) for name in COUNTED},
    }


def _facts(
    family: Family[..., Any], row: dict[str, Any], counters: dict[str, int]
) -> advising.Facts:
    return advising.Facts(
        ttl_s=row["ttl_s"],
        tagged=family.tagged,
        warmed=row["warmed"],
        reads=row["reads"],
        misses=row["misses"],
        outdated=row["outdated"],
        loads=row["loads"],
        load_mean_ms=row["load_mean_ms"],
        compared=counters.get("compared", 0),
        changed=counters.get("changed", 0),
        compared_s=counters.get("compared_ms", 0) / 1000,
        window_s=stats.WINDOW_MINUTES * 60.0,
    )


def _sum(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    reads = sum(row["reads"] for row in rows)
    misses = sum(row["misses"] for row in rows)
    audited = sum(row["audited"] for row in rows)
    wrong = sum(row["audited"] * (row["audited_stale_ratio"] or 0) for row in rows)
    return {
        "reads": reads,
        "hit_ratio": 1 - misses / reads if reads else None,
        "saved_s": sum(row["saved_s"] for row in rows),
        "stale": sum(row["stale"] + row["fallback"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "waited": sum(row["waited"] for row in rows),
        "evicted": sum(row["evicted"] for row in rows),
        "entries": sum(row["entries"] for row in rows),
        "held_bytes": sum(row["held_bytes"] for row in rows),
        "audited": audited,
        "audited_stale_ratio": wrong / audited if audited else None,
    }


def _series(minutes: Sequence[stats.Minute]) -> dict[str, list[float]]:
    """Return reads a second by where they were answered, a point a minute; the running one too.

    A running minute of less than five seconds is left out: it would be all noise.
    """
    now_s = time.time()
    series: dict[str, list[float]] = {"at": [], **{tier: [] for tier in TIERS}}
    for start_s, families in minutes:
        lasted_s = min(60.0, now_s - start_s)
        if lasted_s < 5:
            continue
        series["at"].append(start_s)
        for tier, names in zip(
            TIERS, (("hit_l1",), ("hit_l2",), ("stale", "fallback"), ("miss", "bypass")),
            strict=True,
        ):  # fmt: skip
            reads = sum(counters.get(name, 0) for counters in families.values() for name in names)
            series[tier].append(round(reads / lasted_s, 2))
    return series


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
        "used_ratio": info["used_memory"] / info["maxmemory"] if info["maxmemory"] else None,
        "policy": info["maxmemory_policy"],
        "evicted": info["evicted_keys"],
        "clients": info["connected_clients"],
        "keys": sum(database["keys"] for name, database in info.items() if _is_database(name)),
    }


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()
