"""Recorded answers of The Odds API, played again in the order in which they were recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from odds.errors import FeedMisconfigured
from odds.feeds.odds_api_json import parse_events
from odds.feeds.parsed import Parsed, Refused, Skipped
from odds.quotes import Batch, EventInfo, Quote

NAME = "replay"
LARGEST_BYTES = 200_000_000
LONGEST_WAIT_S = 60.0
"""Between two recordings a night may lie; nobody watches that."""


class Recording(NamedTuple):
    newest: datetime
    """The latest `last_update` in it."""
    path: Path


class ReplaySource:
    """`speed` 1 waits as long as lay between two recordings, 10 a tenth of it, 0 not at all.

    With `shift_to_now` the first recording counts as made now, and all times move with it.
    """

    name = NAME

    def __init__(
        self,
        *,
        path: Path,
        speed: float = 1.0,
        shift_to_now: bool = False,
        once: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self.speed = speed
        self.shift_to_now = shift_to_now
        self.clock = clock
        self.skipped: list[Skipped] = []
        self._files = self._list()

    def _list(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        files = sorted(self.path.rglob("*.json")) if self.path.is_dir() else []
        if not files:
            raise FeedMisconfigured(
                f"{self.path} holds no JSON files. Give --path a folder of answers of The Odds API."
            )
        return files

    def batches(
        self, cursor: dict[str, Any] | None, wait: Callable[[float], bool]
    ) -> Iterator[Batch]:
        """Play on after the cursor's recording; from the beginning when all were played.

        Recordings that cannot be taken are named in `skipped`, and the others go on.
        """
        recordings = self._in_order()
        if not recordings:
            return
        name = str(self.path.resolve())
        goes_on = cursor is not None and cursor.get("path") == name
        first = int(cursor["next"]) if cursor is not None and goes_on else 0
        if first >= len(recordings):
            goes_on, first = False, 0
        if cursor is not None and goes_on:
            shift = timedelta(seconds=cursor["shift_s"])
        else:
            shift = self.clock() - recordings[0].newest if self.shift_to_now else timedelta()
        for place in range(first, len(recordings)):
            if place > first and self._pause(recordings[place - 1], recordings[place], wait):
                return
            parsed = self._parse(recordings[place].path)
            if parsed is None:
                continue
            where = {"path": name, "next": place + 1, "shift_s": shift.total_seconds()}
            yield shifted(parsed.batch, shift, cursor=where)

    def _pause(self, before: Recording, after: Recording, wait: Callable[[float], bool]) -> bool:
        if not self.speed:
            return wait(0)
        gap_s = (after.newest - before.newest).total_seconds() / self.speed
        return wait(min(LONGEST_WAIT_S, max(0.0, gap_s)))

    def _in_order(self) -> list[Recording]:
        recordings = []
        for path in self._files:
            parsed = self._parse(path)
            if parsed is None:
                continue
            times = [quote.last_update for quote in parsed.batch.quotes if quote.last_update]
            if times:
                recordings.append(Recording(max(times), path))
            else:
                self.skipped.append(Skipped(0, path.name, "", "no price in it says when it was"))
        return sorted(recordings)

    def _parse(self, path: Path) -> Parsed | None:
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise Refused(f"it is larger than {LARGEST_BYTES} bytes")
            return parse_events(json.loads(path.read_bytes(), parse_float=Decimal), source=NAME)
        except (OSError, ValueError, RecursionError, Refused) as error:
            self.skipped.append(Skipped(0, path.name, "", f"the recording was left out: {error}"))
            return None


def shifted(batch: Batch, by: timedelta, *, cursor: dict[str, Any]) -> Batch:
    """Return the batch with every time moved by `by`."""

    def event(one: EventInfo) -> EventInfo:
        return msgspec.structs.replace(one, commence_time=one.commence_time + by)

    def quote(one: Quote) -> Quote:
        if one.last_update is None:
            return one
        return msgspec.structs.replace(one, last_update=one.last_update + by)

    if not by:
        return msgspec.structs.replace(batch, cursor=cursor)
    return msgspec.structs.replace(
        batch,
        events=[event(one) for one in batch.events],
        quotes=[quote(one) for one in batch.quotes],
        cursor=cursor,
    )
