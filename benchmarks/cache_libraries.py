"""A hit of 10 KB through ours and through six other libraries, in memory and in the store.

One run: each library lives in a process of its own (`rivals`), and they are asked in turn, round
by round, so that a busy moment hits all of them. What is told is the CPU time of the best round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Protocol

from benchmarks import rivals

ROUNDS = 7
STARTS_WITHIN_S = 60
WANTED_MEMORY_US = 1.0
WANTED_RATIO = 2.3
"""Of a hit in the store to a bare GET."""


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


class Contestant:
    """One library's process, and the best that it has done."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.best_us: dict[str, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.rivals", name, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ.copy(),
        )  # fmt: skip
        self.version: str = self._hear()["version"]

    def round(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        for tier, us in self._hear().items():
            self.best_us[tier] = min(us, self.best_us.get(tier, us))

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.name} ended with {self._process.wait()}; its reason is above. "
                "The rivals come with requirements-bench.txt, which `make bench` installs."
            )
        told: dict[str, Any] = json.loads(line)
        return told


def run(report: Report) -> None:
    from django.conf import settings

    contestants: list[Contestant] = []
    try:
        for name in rivals.CONTESTANTS:
            contestants.append(Contestant(name, settings.CACHE_URL))
        for _ in range(ROUNDS):
            for contestant in contestants:
                contestant.round()
    finally:
        for contestant in contestants:
            contestant.stop()
    _tell(report, {contestant.name: contestant for contestant in contestants})


def _tell(report: Report, by_name: dict[str, Contestant]) -> None:
    ours, bare_us = by_name["ours"].best_us, by_name["bare redis-py GET"].best_us["store"]
    report.say(
        f"{len(json.dumps(rivals.rows())) / 1024:.1f} KB as JSON; CPU of one hit in the client, "
        f"best of {ROUNDS} rounds."
    )
    report.say()
    report.say("| library | in memory | x ours | in the store | x a bare GET |")
    report.say("|---|--:|--:|--:|--:|")
    for name, contestant in by_name.items():
        for memory_us, store_us, kind in _lines(contestant.best_us):
            version = f" {contestant.version}" if contestant.version else ""
            report.say(
                f"| {name}{version}{kind} | {_us(memory_us)} | {_times(memory_us, ours['memory'])}"
                f" | {_us(store_us)} | {_times(store_us, bare_us)} |"
            )
    report.say()
    report.say(
        f"- wanted: at most {WANTED_MEMORY_US:g} us in memory (as it ran, {ours['memory']:.2f}), "
        f"at most {WANTED_RATIO}x a bare GET in the store ({ours['store'] / bare_us:.2f}x), and "
        f"ahead of each at both: {_ahead(by_name)}"
    )


def _lines(best_us: dict[str, float]) -> list[tuple[float | None, float | None, str]]:
    lines = [(best_us.get("memory"), best_us.get("store"), "")]
    if "store, dicts" in best_us:
        lines.append((None, best_us["store, dicts"], ", plain dicts without a schema"))
    return lines


def _ahead(by_name: dict[str, Contestant]) -> str:
    ours = by_name["ours"].best_us
    behind = [
        f"{name} in {tier}"
        for name, contestant in by_name.items()
        for tier, us in contestant.best_us.items()
        if name not in ("ours", "bare redis-py GET") and us < ours[tier]
    ]
    return f"behind {', '.join(behind)}" if behind else "yes"


def _us(us: float | None) -> str:
    return "–" if us is None else f"{us:.2f} us" if us < 10 else f"{us:.0f} us"


def _times(us: float | None, base_us: float) -> str:
    return "–" if us is None else f"{us / base_us:.1f}"
