"""The bus's side: samples in, seconds out, and what pages read. Each call is one round trip or two.

All raise redis.RedisError when the bus is away; the callers decide what that means.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
import redis

from performance.core.stores import bus
from performance.monitoring import wire
from performance.monitoring.conf import conf
from performance.monitoring.errors import Superseded

READ_AT_ONCE = 500

Entry = tuple[str, wire.Sample]


def id_key(entry_id: str) -> tuple[int, int]:
    """Return a stream's id as numbers that compare."""
    ms, _, place = entry_id.partition("-")
    return int(ms), int(place or 0)


def id_second(entry_id: str) -> int:
    """Return the Unix second, by the bus's clock, in which an entry was added."""
    return id_key(entry_id)[0] // 1000


def read_samples(after: str) -> tuple[list[Entry], str, int]:
    """Return the entries after an id, the last id looked at, and how many could not be decoded."""
    answer = cast(Any, bus().xread({wire.SAMPLES: after}, count=READ_AT_ONCE))
    entries: list[Entry] = []
    refused = 0
    for raw_id, fields in answer[0][1] if answer else []:
        after = raw_id.decode()
        try:
            entries.append((after, wire.sample_decoder.decode(fields[b"s"])))
        except (msgspec.DecodeError, KeyError):
            refused += 1
    return entries, after, refused


def newest_sample_id() -> str | None:
    """Return the id of the newest sample on the bus; None when there is none."""
    found = cast(Any, bus().xrevrange(wire.SAMPLES, count=1))
    return found[0][0].decode() if found else None


def write_second(second: wire.Second, point: wire.Point, now: dict[str, Any]) -> None:
    """Append one second. Raises Superseded when its number is taken: another monitor leads."""
    kept, entry_id = conf().seconds_kept, f"{second.sequence}-0"
    try:
        bus().xadd(
            wire.SECONDS, {"s": wire.encoder.encode(second)}, id=entry_id, maxlen=kept,
            approximate=True,
        )  # fmt: skip
    except redis.ResponseError as error:
        if "equal or smaller" in str(error):
            raise Superseded(f"second {second.sequence}") from error
        raise
    pipe: Any = bus().pipeline(transaction=False)
    pipe.xadd(
        wire.POINTS, {"p": wire.encoder.encode(point)}, id=entry_id, maxlen=kept, approximate=True
    )
    pipe.set(wire.NOW, wire.encoder.encode(now))
    pipe.execute(raise_on_error=True)


def last_second() -> wire.Second | None:
    found = cast(Any, bus().xrevrange(wire.SECONDS, count=1))
    if not found:
        return None
    try:
        return wire.second_decoder.decode(found[0][1][b"s"])
    except msgspec.DecodeError:  # another version's: its number still binds us
        return wire.Second(id_key(found[0][0].decode())[0], 0, "0-0", [], [], [])


def read_points(newest: int) -> list[wire.Point]:
    """Return up to `newest` seconds as numbers, oldest first."""
    found = cast(Any, bus().xrevrange(wire.POINTS, count=newest))
    points = []
    for _, fields in reversed(found):
        try:
            points.append(wire.point_decoder.decode(fields[b"p"]))
        except (msgspec.DecodeError, KeyError):
            continue  # an older version's second: its place on the chart stays empty
    return points


def read_seconds(newest: int) -> list[wire.Second]:
    """Return up to `newest` merged seconds, oldest first; about 0.1 ms each."""
    found = cast(Any, bus().xrevrange(wire.SECONDS, count=newest))
    seconds = []
    for _, fields in reversed(found):
        try:
            seconds.append(wire.second_decoder.decode(fields[b"s"]))
        except (msgspec.DecodeError, KeyError):
            continue  # an older version's
    return seconds


def read_now() -> dict[str, Any] | None:
    """Return the newest second's tables; None when no monitor has written any."""
    raw = cast("bytes | None", bus().get(wire.NOW))
    if raw is None:
        return None
    found: dict[str, Any] = msgspec.msgpack.decode(raw)
    return found


def write_totals(totals: wire.Totals) -> None:
    bus().set(wire.TOTALS, wire.encoder.encode(totals))


def read_totals() -> wire.Totals | None:
    raw = cast("bytes | None", bus().get(wire.TOTALS))
    try:
        return wire.totals_decoder.decode(raw) if raw else None
    except msgspec.DecodeError:
        return None  # counters begin anew, as after a restart; Prometheus allows for that


def queue_depth() -> int:
    """Return how many tasks wait in Celery's queue."""
    return bus().llen("celery")
