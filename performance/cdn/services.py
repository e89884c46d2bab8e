"""The door of the CDN room: what others may ask of the edge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.db import DatabaseError, transaction
from django.utils import timezone

from performance.cdn import (
    asking,
    assets,
    budget,
    counters,
    edging,
    following,
    health,
    hinting,
    ledger,
    minifying,
    publishing,
    serving,
    showing,
    weighing,
)
from performance.cdn.conf import conf
from performance.cdn.errors import NoCdn
from performance.cdn.imaging import Picture
from performance.cdn.models import EdgeEvent, Purge, StaticBuild
from performance.cdn.providers.choosing import provider
from performance.cdn.serving import HASHED_NAME
from performance.core import signals


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


logger = logging.getLogger(__name__)


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
            "published_at": timezone.now(),  # who goes back to an older build has it as the newest
        },
    )
    removed = _remove_old_builds(target) if conf().bucket else 0
    return Published(row, len(build.files), upload.sent, upload.sent_bytes, upload.present, removed)


def build_rules() -> str:
    """Return a text that changes when the same sources would be built otherwise."""
    return f"3 {'small' if minifying.esbuild() else 'as they are'} {conf().image_widths}"


def make_bucket() -> None:
    """Make the bucket of static files unless it is there."""
    publishing.make_bucket()


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
    """Ask the edge once how it is, and tell of a change; None without one."""
    if not conf().base_url and not conf().varnish_urls:
        return None
    states = health.probe()
    if states is None:
        return None
    before, after = states
    name = conf().provider or "edge"
    signals.recorder.count("edge", "probe:ok" if after.healthy else "probe:out")
    if before.healthy != after.healthy:
        _tell_of_change(name, after)
    return after


def _tell_of_change(name: str, state: health.Health) -> None:
    logger.warning(
        "The edge %s (%s).", "is back" if state.healthy else "is taken out", state.detail
    )
    signals.measured.send(None, kind="edge", key=name, value=int(state.healthy), unit="well")
    signals.recorder.count("edge", "back" if state.healthy else "out")
    try:
        EdgeEvent.objects.create(provider=name, healthy=state.healthy, detail=state.detail[:200])
    except DatabaseError as error:
        logger.warning("That change of the edge is not kept: %s", error)


def count() -> bool:
    """Keep the edge's counters of this moment; without any, look at one file as a browser does."""
    if counters.take():
        return True
    newest = StaticBuild.objects.first() if asking.addresses() else None
    names = [name for name in newest.files if HASHED_NAME.match(name)] if newest else []
    if names:
        list(asking.warm([settings.STATIC_URL + names[int(time.time()) % len(names)]]))
    return bool(names)


def preview(tags: Iterable[str], urls: Iterable[str], *, everything: bool = False) -> str:
    """Say what a purge would send, and change nothing. Raises as `CDNManager.purge`."""
    edge = provider()
    if edge is None:
        raise NoCdn
    if everything:
        return f"everything at {edge.name}."
    wanted_urls, wanted_tags = sorted(set(urls)), sorted(set(tags))
    ledger.check_targets(wanted_urls, wanted_tags)
    wanted = budget.within(edge.name, wanted_urls, wanted_tags)
    found = f"{_count(len(wanted.tags), 'tag')} and {_count(len(wanted.urls), 'URL')}"
    what = f"{found} at {edge.name}."
    return f"{what} {wanted.note}".strip()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def read_back(paths: Iterable[str], purged_at: float) -> list[asking.ReadBack]:
    """Ask the edge for purged paths, until each is new or 5 s are over; see `asking.read_back`."""
    return asking.read_back(paths, purged_at)


def warm_edge(paths: Iterable[str]) -> list[asking.Answer]:
    """Let the edge fetch these paths now. Raises NoCdn and InvalidPurge as `purge` does."""
    wanted = sorted(set(paths))
    if not asking.addresses():
        raise NoCdn
    ledger.check_targets(wanted, ())
    return list(asking.warm(wanted))


def serve_static(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application with static files answered before it."""
    return edging.wrap(serving.wrap(hinting.wrap(application)), provider())


def picture(name: str) -> Picture | None:
    """Return a picture's size and variants; None when nothing was built of it."""
    return assets.picture(name)


def modules_of(name: str) -> list[str]:
    """Return a module and all that it loads at once, nearest first."""
    return assets.needs(name)


def edge_address() -> str:
    """Return where browsers fetch static files when that is not the origin; empty else."""
    return conf().base_url.rstrip("/")


def origin_url(name: str) -> str:
    """Return a static file's URL at the origin, whatever the edge."""
    return staticfiles_storage.url(name).removeprefix(edge_address())


def prune_ledger() -> int:
    return ledger.prune()


def weigh_pages() -> list[weighing.Weight]:
    """Return what the pages' styles and scripts weigh; raises BuildFailed when one is too heavy,
    or a file names another that is not there."""
    return weighing.check(conf().page_budgets)


def overview() -> dict[str, Any]:
    """Return what the CDN page shows; 7 queries and two reads of the bus."""
    return showing.overview()
