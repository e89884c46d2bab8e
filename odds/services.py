"""The door of odds: what the project's other parts, tasks, commands and the admin may call."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from odds.conf import conf
from odds.errors import FeedMisconfigured
from odds.feeds.replay import ReplaySource
from odds.feeds.runner import Runner, Source, Totals
from odds.feeds.simulate_names import HOUSES
from odds.feeds.simulated import SimulatedSource
from odds.feeds.the_odds_api import TheOddsApiSource
from odds.ingest import IngestReport, ingest
from odds.outbox import deliver as deliver_outbox
from odds.upkeep import judge_bookmaker_anew, maintain, refresh_opportunities
from performance.caching.services import cache

__all__ = [
    "IngestReport",
    "deliver_outbox",
    "forget_sport",
    "ingest",
    "judge_bookmaker_anew",
    "maintain",
    "refresh_opportunities",
    "run_feed",
    "source",
]


def source(name: str = "", **options: Any) -> Source:
    """Return the source that a feed is to run; options are those of `manage.py feed`.

    Raises FeedMisconfigured for what cannot be run so.
    """
    name = name or options["source"]
    if name == "simulate":
        if options["bookmakers"] > len(HOUSES):
            raise FeedMisconfigured(
                f"--bookmakers is {options['bookmakers']}; the simulated market has 1 to "
                f"{len(HOUSES)}."
            )
        return SimulatedSource(
            seed=options["seed"],
            events=options["events"],
            bookmakers=options["bookmakers"],
            changes_a_s=options["changes_per_s"],
            speed=options["speed"],
        )
    if name == "replay":
        path: Path | None = options["path"]
        if path is None:
            raise FeedMisconfigured("--source replay needs --path, a folder of recorded answers.")
        return ReplaySource(path=path, speed=options["speed"], shift_to_now=options["shift_to_now"])
    return TheOddsApiSource(
        key=options["api_key"], options=conf(), sports=options["sport"], once=options["once"]
    )


def run_feed(source: Source, *, stop: threading.Event, batches: int | None = None) -> Totals:
    """Run `source` until `stop` is set, or `batches` are stored; returns what was done."""
    return Runner(source, stop=stop, most=batches).run()


def forget_sport(key: str) -> None:
    """Invalidate what shows a sport, after COMMIT: staff have renamed or hidden it."""
    cache.invalidate(f"sport:{key}", "arbitrage")
