"""Send a page's difference to everyone who watches it, and know whether anyone does.

The numbers come from one counter a page on the bus, so that any process may publish and every
browser sees a gap. A wiped bus starts again at 1, which a browser takes for a gap too.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from concurrent import futures
from typing import Any, Protocol, cast

import redis
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder
from redis.exceptions import RedisError

from performance.core import pages, signals, stores

SEND_LIMIT_S = 1.0
"""A publish that the layer has not taken by then is given up."""
WATCHED_FOR_S = 30
"""A watcher not refreshed for this long is gone; sockets refresh three times as often."""


class Layer(Protocol):
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


def publish(slug: str, data: dict[str, Any]) -> int | None:
    """Send `data` to the watchers of a page; return its number, or None when it was not sent.

    The message is `{"type": "page.update", "sequence": n, "at": <unix seconds>, "data": data}`.
    It costs one INCR and one PUBLISH, waits 2 s at most, and never raises for a bus that is
    down: that is counted as `broadcast:failed`. From async code call it in a thread.
    """
    page = pages.get(slug)
    if page is None:
        known = ", ".join(known.slug for known in pages.all_pages())
        raise LookupError(f"No page is called {slug!r}. There are: {known}.")
    try:
        number = stores.bus().incr(_sequence_key(slug))
    except RedisError:
        signals.recorder.count("socket", "broadcast:failed")
        return None
    message = {"type": "page.update", "sequence": number, "at": time.time(), "data": plain(data)}
    return number if send(page.group, message) else None


def send(group: str, message: dict[str, Any], *, limit_s: float = SEND_LIMIT_S) -> bool:
    """Send any message to a Channels group from sync code; False when it could not in `limit_s`."""
    layer = cast("Layer | None", get_channel_layer())
    if layer is None:
        return False
    sending = asyncio.run_coroutine_threadsafe(layer.group_send(group, message), _sender_loop())
    try:
        sending.result(limit_s)
    except (futures.TimeoutError, futures.CancelledError, RedisError, OSError):
        sending.cancel()
        signals.recorder.count("socket", "broadcast:failed")
        return False
    signals.recorder.count("socket", "broadcast:sent")
    return True


def sequence(slug: str) -> int:
    """Return the number of the page's last difference; 0 when there was none or the bus is down.

    Read it *before* gathering a snapshot: the snapshot then holds at least all up to it, and a
    difference that it holds already does no harm when applied again.
    """
    try:
        return int(cast(bytes, stores.bus().get(_sequence_key(slug)) or b"0"))
    except RedisError:
        return 0


def snapshot(page: pages.Page) -> dict[str, Any]:
    """Return `page.snapshot()` with the `sequence` that the socket's messages follow, and `at`."""
    number = sequence(page.slug)
    return {**plain(page.snapshot()), "sequence": number, "at": time.time()}


def plain(value: Any) -> Any:
    """Return `value` as JSON and a browser can hold it.

    NaN and infinities, which no browser parses, become None; dates, decimals and the like become
    the text that Django's JSON has for them.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return json.loads(json.dumps(value, cls=DjangoJSONEncoder))


def watch(slug: str, watcher: str) -> None:
    """Note that `watcher` looks at the page for the next `WATCHED_FOR_S`; raises RedisError."""
    key, now = _watchers_key(slug), time.time()
    pipe: Any = stores.bus().pipeline(transaction=False)
    pipe.zadd(key, {watcher: now + WATCHED_FOR_S})
    pipe.zremrangebyscore(key, "-inf", now)
    pipe.expire(key, WATCHED_FOR_S * 2)
    pipe.execute()


def unwatch(slug: str, watcher: str) -> None:
    """Forget `watcher`; without a bus it expires by itself."""
    try:
        stores.bus().zrem(_watchers_key(slug), watcher)
    except RedisError:
        signals.recorder.count("socket", "unwatch:failed")


def watched() -> dict[str, int]:
    """Return how many browsers watch each page; unwatched pages are left out. One round trip.

    Empty when the bus is down: then nobody could be reached either.
    """
    slugs = [page.slug for page in pages.all_pages()]
    pipe: redis.client.Pipeline = stores.bus().pipeline(transaction=False)
    for slug in slugs:
        pipe.zcount(_watchers_key(slug), time.time(), "+inf")
    try:
        counts = pipe.execute()
    except RedisError:
        return {}
    return {slug: count for slug, count in zip(slugs, counts, strict=True) if count}


def _sequence_key(slug: str) -> str:
    return f"pages:sequence:{slug}"


def _watchers_key(slug: str) -> str:
    return f"pages:watchers:{slug}"


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_pid = 0


def _sender_loop() -> asyncio.AbstractEventLoop:
    """One event loop in a daemon thread: the layer's connection lives as long as its loop."""
    global _loop, _loop_pid
    with _lock:
        if _loop is None or _loop_pid != os.getpid():  # threads do not survive a fork
            _loop, _loop_pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="broadcast", daemon=True).start()
        return _loop
