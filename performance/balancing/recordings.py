"""A recorded demand as it stands in a file: one JSON object a line, refused by its line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

import msgspec

from performance.balancing import scaling
from performance.balancing.errors import BalancingError


class _Recorded(msgspec.Struct):
    at_s: float
    in_use: int
    queued: int = 0
    queue_ms: float | None = None
    cpu_ratio: float | None = None


def samples(lines: TextIO) -> Iterable[scaling.Sample]:
    last_s = float("-inf")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            seen = msgspec.json.decode(line, type=_Recorded)
        except msgspec.MsgspecError as error:
            raise BalancingError(
                f"Line {number} is no sample ({error}); it looks like "
                '{"at_s": 0, "in_use": 12, "queued": 0}.'
            ) from None
        if seen.at_s < last_s or seen.in_use < 0 or seen.queued < 0:
            raise BalancingError(
                f"Line {number} goes back in time or below zero: at_s {seen.at_s}, in_use "
                f"{seen.in_use}, queued {seen.queued}."
            )
        last_s = seen.at_s
        yield scaling.Sample(
            at_s=seen.at_s, ready=0, in_use=seen.in_use, queued=seen.queued,
            queue_ms=seen.queue_ms, cpu_ratio=seen.cpu_ratio,
        )  # fmt: skip
