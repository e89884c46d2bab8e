"""The door of the CDN room: what others may ask of the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from performance.cdn import budget, edging, following, health, ledger, publishing, serving
from performance.cdn.conf import conf
from performance.cdn.errors import NoCdn
from performance.cdn.models import Purge, StaticBuild
from performance.cdn.providers.choosing import provider


class CDNManager:
    """One interface over the edges: `headers`, `purge`, `healthy`, `url`."""

    def url(self, path: str) -> str:
        """Return `path` (from the root, such as `/static/a.css`) at the edge if it is well."""
        return health.public_url(path)

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the headers that tell the edge an answer's tags; empty without a CDN."""
        edge = provider()
        return edge.headers(tags) if edge else {}

    def healthy(self) -> bool:
        """Return whether the last probes said so; True when none was ever made."""
        return health.healthy()

    def purge(
        self, *, urls: Iterable[str] = (), tags: Iterable[str] = (), soft: bool = True
    ) -> Purge:
        """Record a purge in the caller's transaction, and send it right after its COMMIT.

        Raises NoCdn without a CDN and InvalidPurge for a target that no edge understands; then
        nothing is recorded. An edge that does not answer is tried again by `deliver`.
        """
        edge = provider()
        if edge is None:
            raise NoCdn
        wanted_urls, wanted_tags = sorted(set(urls)), sorted(set(tags))
        ledger.check_targets(wanted_urls, wanted_tags)
        wanted = budget.within(edge.name, wanted_urls, wanted_tags)
        purge = ledger.record(edge, urls=wanted.urls, tags=wanted.tags, soft=soft, note=wanted.note)
        transaction.on_commit(self.deliver, robust=True)
        return purge

    def purge_all(self, *, soft: bool = True) -> Purge:
        """Let the edge forget all that it holds of ours, or expire it where it can do that.

        The origin then answers every first request itself. Raises NoCdn without a CDN.
        """
        edge = provider()
        if edge is None:
            raise NoCdn
        if soft and edge.can_soften:
            return self.purge(tags=[budget.SITE], soft=True)
        purge = ledger.record(edge, urls=[], tags=[], soft=False, everything=True)
        transaction.on_commit(self.deliver, robust=True)
        return purge

    def deliver(self) -> tuple[int, int]:
        """Send the purges that are due; return how many went and how many did not."""
        edge = provider()
        return ledger.deliver(edge) if edge else (0, 0)


manager = CDNManager()
_gatherer = following.Gatherer(lambda tags, soft: manager.purge(tags=tags, soft=soft))


def follow_invalidation(*, tags: Sequence[str], soft: bool, **kwargs: Any) -> None:
    """Receive `core.signals.invalidated`: purge these tags soon; without an edge it costs 1 us."""
    if conf().provider:
        _gatherer.add(tags, soft=soft)


LEVELS = {Purge.State.PENDING: "warn", Purge.State.SENT: "good", Purge.State.FAILED: "bad"}
"""How loudly the page shows a purge's state."""


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did. Sizes are in bytes."""

    build: StaticBuild
    files: int
    sent: int
    sent_bytes: int
    present: int
    removed: int


def publish(on_file: Callable[[str, int], None] = lambda name, size_bytes: None) -> Published:
    """Publish STATIC_ROOT to the bucket, or note it as the origin's own build without one.

    `on_file(name, size_bytes)` is called as each file is settled, for a progress bar.
    """
    build = publishing.current_build()
    upload = publishing.upload(build, on_file) if conf().bucket else publishing.Upload()
    target = f"s3://{conf().bucket}" if conf().bucket else "origin"
    row, _ = StaticBuild.objects.update_or_create(
        manifest_hash=build.manifest_hash,
        defaults={
            "target": target,
            "files": build.files,
            "bytes_by_encoding": build.bytes_by_encoding,
        },
    )
    removed = _remove_old_builds(target) if conf().bucket else 0
    return Published(row, len(build.files), upload.sent, upload.sent_bytes, upload.present, removed)


def _remove_old_builds(target: str) -> int:
    """Delete the objects that only builds beyond the last `keep_builds` had; return how many."""
    builds = list(StaticBuild.objects.filter(target=target))
    kept, old = builds[: conf().keep_builds], builds[conf().keep_builds :]
    needed = {name for build in kept for name in build.files}
    gone = sorted({name for build in old for name in build.files} - needed)
    publishing.remove(gone)
    StaticBuild.objects.filter(pk__in=[build.pk for build in old]).delete()
    return len(gone)


def probe() -> health.Health | None:
    """Ask the edge once how it is; None without one."""
    return health.probe() if conf().base_url else None


def serve_static(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application with static files answered before it."""
    return edging.wrap(serving.wrap(application), provider())


def prune_ledger() -> int:
    return ledger.prune()


def overview() -> dict[str, Any]:
    """Return what the CDN page shows; 3 queries and one read of the bus."""
    state = health.read()
    newest = StaticBuild.objects.first()
    return {
        "provider": conf().provider or "none",
        "base_url": conf().base_url or "the origin",
        "healthy": state.healthy,
        "since_unix_s": state.since,
        "probe": state.detail,
        "waiting": Purge.objects.filter(state=Purge.State.PENDING).count(),
        "build": None
        if newest is None
        else {
            "hash": newest.manifest_hash[:12],
            "files": len(newest.files),
            "published_at": newest.published_at.isoformat(),
            "target": newest.target,
            "bytes_by_encoding": newest.bytes_by_encoding,
        },
        "purges": [
            {
                "key": str(purge.pk),
                "level": LEVELS[Purge.State(purge.state)],
                "at": purge.created_at.isoformat(sep=" ", timespec="seconds"),
                "targets": [*purge.tags, *purge.urls][:20],
                "items": purge.items,
                "soft": purge.soft,
                "state": purge.get_state_display(),
                "attempts": purge.attempts,
                "answer": purge.answer[:300],
            }
            for purge in Purge.objects.all()[:50]
        ],
    }
