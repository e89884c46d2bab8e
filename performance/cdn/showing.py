"""What the CDN page shows, as plain values. Read only."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from typing import Any

import redis
from django.db.models import Count
from django.utils import timezone

from performance.cdn import counters, health, ledger
from performance.cdn.conf import conf
from performance.cdn.models import EdgeEvent, Purge, StaticBuild

LEVELS = {Purge.State.PENDING: "warn", Purge.State.SENT: "good", Purge.State.FAILED: "bad"}
"""How loudly the page shows a purge's state."""
PURGES, EVENTS, BUILDS = 50, 10, 5


def overview() -> dict[str, Any]:
    """Return the whole page; without the bus, health is what is known of old."""
    try:
        state = health.read()
    except redis.RedisError:
        state = health.NEVER_PROBED
    builds = [_build(row) for row in StaticBuild.objects.all()[:BUILDS]]
    day_ago = timezone.now() - datetime.timedelta(days=1)
    states = dict(
        Purge.objects.filter(created_at__gt=day_ago)
        .values_list("state")
        .annotate(Count("pk"))
        .order_by()
    )
    return {
        "provider": conf().provider or "none",
        "base_url": conf().base_url or "the origin",
        "healthy": state.healthy,
        "since_unix_s": state.since,
        "probe": state.detail,
        "waiting": Purge.objects.filter(state=Purge.State.PENDING).count(),
        "sent_24h": states.get(Purge.State.SENT, 0),
        "failed_24h": states.get(Purge.State.FAILED, 0),
        "edge": _edge(),
        "month": _month(),
        "budget": _budget(),
        "build": builds[0] if builds else None,
        "builds": builds,
        "events": [_event(row) for row in EdgeEvent.objects.all()[:EVENTS]],
        "purges": [_purge(row) for row in Purge.objects.all()[:PURGES]],
    }


def _edge() -> dict[str, Any]:
    """The edge's own counters where it has any, else what sampled answers said."""
    share = counters.share(counters.kept())
    if share is not None:
        return {**asdict(share), "from": "its counters"}
    sampled = counters.sampled()
    total = sampled["hit"] + sampled["miss"]
    return {
        "from": "Cache-Status of sampled answers" if total else "nothing yet",
        "requests": total,
        "hit_ratio": sampled["hit"] / total if total else None,
        "saved_bytes": None,
        "saved_ratio": None,
        "span_s": counters.SEEN_FOR_S,
    }


def _month() -> dict[str, Any]:
    sums = ledger.month_of(conf().provider)
    return {**sums, "cost_usd": float(sums["cost_usd"])}


def _budget() -> dict[str, int]:
    """URLs purged in the last minute, and how many may be."""
    recent = Purge.objects.filter(
        provider=conf().provider, created_at__gt=timezone.now() - datetime.timedelta(minutes=1)
    ).exclude(urls=[])
    spent = sum(len(urls) for urls in recent.values_list("urls", flat=True))
    return {"spent": spent, "allowed": conf().urls_per_minute}


def _moment(at: datetime.datetime) -> str:
    return f"{at.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}"


def _build(row: StaticBuild) -> dict[str, Any]:
    return {
        "hash": row.manifest_hash[:12],
        "files": len(row.files),
        "published_at": _moment(row.published_at),
        "target": row.target,
        "bytes_by_encoding": row.bytes_by_encoding,
    }


def _event(row: EdgeEvent) -> dict[str, Any]:
    return {
        "key": str(row.pk),
        "at": _moment(row.at),
        "provider": row.provider,
        "healthy": row.healthy,
        "detail": row.detail,
    }


def _purge(row: Purge) -> dict[str, Any]:
    targets = ["everything"] if row.everything else [*row.tags, *row.urls][:20]
    return {
        "key": str(row.pk),
        "level": LEVELS[Purge.State(row.state)],
        "at": _moment(row.created_at),
        "targets": targets,
        "items": row.items,
        "soft": row.soft,
        "state": row.get_state_display(),
        "trouble": row.get_trouble_display() if row.trouble else "",
        "attempts": row.attempts,
        "cost_usd": float(row.cost_usd),
        "answer": " ".join(filter(None, (row.note, row.answer)))[:300],
    }
